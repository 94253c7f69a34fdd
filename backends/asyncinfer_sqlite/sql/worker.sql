-- name: extend
-- Counts a renewal of the attempts that are still (running, attempt).
UPDATE jobs SET renewals = renewals + 1
FROM (VALUES (?, ?)) AS lease
WHERE n = lease.column1 AND status = 'running' AND attempt = lease.column2

-- name: keep_worker
-- Keeps a worker registered.
UPDATE workers SET until = ? WHERE worker = ? AND info IS NOT NULL

-- name: register
-- Makes a worker known, and the lock that proves that it lives.
INSERT INTO workers (worker, lock, until, info) VALUES (?, ?, ?, ?)
ON CONFLICT (worker) DO UPDATE SET lock = excluded.lock, until = excluded.until, info = excluded.info

-- name: unregister
-- Forgets a worker; what it may still run stays tied to its lock.
UPDATE workers SET until = NULL, info = NULL WHERE worker = ?

-- name: workers
-- Workers that have extended within their lease.
SELECT info FROM workers WHERE info IS NOT NULL AND until > ? ORDER BY worker

-- name: publish
-- Publishes a model; the newest publication holds.
INSERT INTO published_models (model, info) VALUES (?, ?) ON CONFLICT (model) DO UPDATE SET info = excluded.info

-- name: models
-- Every model that a worker has published.
SELECT info FROM published_models ORDER BY model

-- name: leases
-- Running attempts in order of key, behind (owner, id).
SELECT jobs.owner, jobs.id, jobs.attempt, jobs.renewals, jobs.worker, jobs.cancel_requested_at, jobs.started_at,
    jobs.fixed, workers.lock
FROM jobs INDEXED BY jobs_running LEFT JOIN workers ON workers.worker = jobs.worker
WHERE jobs.status = 'running' AND jobs.owner >= ? AND (jobs.owner, jobs.id) > (?, ?)
ORDER BY jobs.owner, jobs.id LIMIT ?

-- name: forget_workers
-- Forgets workers tied to these locks that run nothing any more.
DELETE FROM workers
WHERE lock IN (SELECT value FROM json_each(?))
    AND worker NOT IN (SELECT worker FROM jobs INDEXED BY jobs_running WHERE status = 'running')

-- name: locks
-- The locks that some worker is tied to.
SELECT DISTINCT lock FROM workers

-- name: runs_anything
-- Whether a worker tied to this lock still has a running job.
SELECT EXISTS (
    SELECT 1 FROM jobs INDEXED BY jobs_running JOIN workers ON workers.worker = jobs.worker
    WHERE jobs.status = 'running' AND workers.lock = ?
)

-- name: record
-- Moves the revision of running attempts on.
UPDATE jobs SET revision = recorded.column3, move_id = recorded.column4
FROM (VALUES (?, ?, ?, ?)) AS recorded
WHERE n = recorded.column1 AND status = 'running' AND attempt = recorded.column2

-- name: progress
-- Replaces the latest progress.
INSERT INTO reports (n, progress, progress_revision, progress_attempt, progress_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (n) DO UPDATE SET
    progress = excluded.progress, progress_revision = excluded.progress_revision,
    progress_attempt = excluded.progress_attempt, progress_at = excluded.progress_at

-- name: outputs
-- Adds output events.
INSERT INTO outputs (n, revision, attempt, at, data) VALUES (?, ?, ?, ?, ?)

-- name: count_outputs
-- Counts output events that were added.
INSERT INTO reports (n, outputs) VALUES (?, ?)
ON CONFLICT (n) DO UPDATE SET outputs = outputs + excluded.outputs
RETURNING outputs

-- name: oldest_outputs
-- The newest of the oldest output events, as many as must leave.
SELECT max(revision) FROM (SELECT revision FROM outputs WHERE n = ? ORDER BY revision LIMIT ?)

-- name: drop_outputs
-- Lets the oldest output events leave.
DELETE FROM outputs WHERE n = ? AND revision <= ?

-- name: note_dropped
-- Remembers which output has left.
UPDATE reports SET outputs = outputs - ?, dropped_revision = ? WHERE n = ?

-- name: checkpoint
-- Replaces a checkpoint.
INSERT INTO checkpoints (n, data) VALUES (?, ?) ON CONFLICT (n) DO UPDATE SET data = excluded.data
