-- The latest runs: what they did and how long they took.
SELECT run_id, job, status, started_at, timestampdiff(SECOND, started_at, ended_at) AS seconds
FROM sonic.runs ORDER BY started_at DESC LIMIT 20;
