-- The songs as the table held them at its first version (time travel).
SELECT count(*) AS n_songs FROM sonic.songs VERSION AS OF 0;
