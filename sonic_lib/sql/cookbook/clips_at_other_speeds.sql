-- Clips that play faster or slower than their song, or at another pitch.
SELECT clip_path, title, round(100 * (speed - 1), 2) AS faster_percent,
  round(12 * log2(pitch), 2) AS semitones
FROM sonic.latest_matches WHERE accepted AND (abs(speed - 1) > 0.005 OR abs(pitch - 1) > 0.005);
