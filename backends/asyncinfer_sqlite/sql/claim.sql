-- name: lines
-- The lines of a model, and whether their queues are paused.
SELECT lines.line, lines.queue, ifnull(queues.is_paused, 0)
FROM lines LEFT JOIN queues ON queues.queue = lines.queue
WHERE lines.model = ? ORDER BY lines.line

-- name: ready
-- The next jobs of a line in fair order, behind (tag, n), as one list.
SELECT json_group_array(n) FROM (
    SELECT n FROM jobs INDEXED BY jobs_ready
    WHERE place = 'ready' AND line = ? AND tag >= ? AND (tag, n) > (?, ?) ORDER BY tag, n LIMIT ?
)

-- name: solo
-- The next last chances of a line, behind (tag, n), as one list.
SELECT json_group_array(n) FROM (
    SELECT n FROM jobs INDEXED BY jobs_solo
    WHERE place = 'solo' AND line = ? AND tag >= ? AND (tag, n) > (?, ?) ORDER BY tag, n LIMIT ?
)

-- name: mates
-- Who may join the batch of a job with this batch key, behind (tag, n), as one list.
SELECT json_group_array(n) FROM (
    SELECT n FROM jobs INDEXED BY jobs_batch
    WHERE place = 'ready' AND batch_key <> '' AND line = ? AND batch_key = ? AND tag >= ? AND (tag, n) > (?, ?)
    ORDER BY tag, n LIMIT ?
)

-- name: plain_mates
-- Who may join the batch of a job without a batch key, behind (tag, n), as one list.
SELECT json_group_array(n) FROM (
    SELECT n FROM jobs INDEXED BY jobs_ready
    WHERE place = 'ready' AND batch_key = '' AND line = ? AND tag >= ? AND (tag, n) > (?, ?)
    ORDER BY tag, n LIMIT ?
)

-- name: heads
-- What a claim needs of jobs.
SELECT n, owner, id, line, tag, attempt, failures, crashes, expire_at, created_at, batch_key, is_subscribed, input_bytes,
    fixed, input, place = 'solo', revision, started_at, not_before
FROM jobs WHERE n IN (SELECT value FROM json_each(?))

-- name: begin
-- Begins attempts: attempt + 1, worker and status in one step; a job that is no longer queued is not counted.
UPDATE jobs SET
    status = 'running', place = NULL, attempt = attempt + 1, revision = revision + 1, renewals = 0, worker = ?,
    started_at = ?, move_id = NULL
WHERE n IN (SELECT value FROM json_each(?)) AND status = 'queued'

-- name: input
-- A large input.
SELECT data FROM inputs WHERE n = ?

-- name: checkpoint
-- What an earlier attempt has saved.
SELECT data FROM checkpoints WHERE n = ?

-- name: due
-- Delayed jobs of a line whose time has come, oldest first.
SELECT n, not_before, owner, crashes, fixed FROM jobs INDEXED BY jobs_delayed
WHERE place = 'delayed' AND line = ? AND not_before <= ? ORDER BY not_before, n LIMIT ?

-- name: promote
-- Makes delayed jobs ready.
UPDATE jobs SET place = promoted.column2, tag = promoted.column3
FROM (VALUES (?, ?, ?)) AS promoted
WHERE n = promoted.column1 AND place = 'delayed'

-- name: next_delayed
-- When the next delayed job of a line becomes ready.
SELECT min(not_before) FROM jobs INDEXED BY jobs_delayed WHERE place = 'delayed' AND line = ?

-- name: first_solo
-- When the first waiting last chance of a line expires.
SELECT expire_at FROM jobs INDEXED BY jobs_solo WHERE place = 'solo' AND line = ? ORDER BY tag, n LIMIT 1

-- name: has_ready
-- Whether a job is ready in a line.
SELECT EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_ready WHERE place = 'ready' AND line = ?)

-- name: has_apart
-- Whether any delayed job or last chance waits.
SELECT EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_solo WHERE place = 'solo' AND line >= 0)
    OR EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_delayed WHERE place = 'delayed' AND line >= 0)

-- name: condemn
-- Ends a queued job whose row is damaged, whatever stands in it.
UPDATE jobs SET
    status = 'failed', place = NULL, revision = ?, attempt = ?, failures = ?, crashes = ?, tag = 0.0, started_at = ?,
    finished_at = ?, prune_at = ?, error = ?, is_subscribed = ?
WHERE n = ?
