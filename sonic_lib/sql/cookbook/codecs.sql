-- Songs by codec and sample rate.
SELECT codec, sample_rate_hz, count(*) AS n_songs
FROM sonic.songs GROUP BY codec, sample_rate_hz ORDER BY n_songs DESC, codec;
