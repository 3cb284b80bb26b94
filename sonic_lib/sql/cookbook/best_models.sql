-- The best training run of each model by each score.
SELECT model, metric, value, run_id, trained_at FROM sonic.model_leaderboard
WHERE place = 1 AND metric IN ('f1_micro', 'f1_macro', 'r2') ORDER BY model, metric;
