CREATE OR REPLACE VIEW sonic.model_leaderboard (
  model COMMENT 'genre, popularity or recommendations',
  metric COMMENT 'Such as f1_micro or r2 on held-out songs, cv_f1_micro by cross-validation, or seconds',
  value COMMENT 'Its value',
  place COMMENT '1 for the best: the largest value, or the smallest of errors and seconds',
  job COMMENT 'train or retrain',
  run_id COMMENT 'The run; its configuration is in runs',
  trained_at COMMENT 'When it started (UTC)',
  code_version COMMENT 'Version of Sonic Signature'
) COMMENT 'Every metric of every finished training run, ranked by model and metric.'
AS SELECT
  model, metric, value,
  rank() OVER (PARTITION BY model, metric ORDER BY
    CASE WHEN metric RLIKE '(rmse|mae|log_loss|seconds)$' THEN value ELSE -value END
  ) AS place,
  job, run_id, started_at AS trained_at, code_version
FROM (
  SELECT
    split(job, ' ')[1] AS model, split(job, ' ')[0] AS job, run_id, started_at, code_version,
    explode(counts) AS (metric, value)
  FROM sonic.runs WHERE status = 'done' AND (job LIKE 'train %' OR job LIKE 'retrain %')
)
