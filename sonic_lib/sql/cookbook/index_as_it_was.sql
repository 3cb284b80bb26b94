-- The songs in the first version of the table (time travel).
SELECT count(*) AS n_songs FROM sonic.songs VERSION AS OF 0;
