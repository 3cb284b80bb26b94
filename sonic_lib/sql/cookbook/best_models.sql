-- The best training run of each model by each metric.
SELECT model, metric, value, run_id, trained_at FROM sonic.model_leaderboard
WHERE place = 1 ORDER BY model, metric;
