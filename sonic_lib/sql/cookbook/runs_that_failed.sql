-- Runs that failed or were killed (those still have the status running).
SELECT run_id, job, status, started_at, code_version FROM sonic.runs
WHERE status <> 'done' ORDER BY started_at DESC;
