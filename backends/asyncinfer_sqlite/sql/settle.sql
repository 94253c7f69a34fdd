-- name: mark_canceled
-- Notes the owner's wish on a running job.
UPDATE jobs SET cancel_requested_at = ?, revision = revision + 1
WHERE n = ? AND status = 'running' AND cancel_requested_at IS NULL

-- name: expired
-- Queued jobs whose time to start has passed, first of all the oldest.
SELECT n FROM jobs INDEXED BY jobs_expiry
WHERE place IS NOT NULL AND expire_at IS NOT NULL AND expire_at <= ? ORDER BY expire_at, n LIMIT ?

-- name: due
-- Ended jobs of which something is to be forgotten, and that owe nothing.
SELECT n, owner, id, line, status, finished_at, fixed FROM jobs INDEXED BY jobs_prune
WHERE prune_at IS NOT NULL AND prune_at <= ?
    AND (is_subscribed = 0 OR (
        NOT EXISTS (SELECT 1 FROM owed WHERE owed.n = jobs.n)
        AND NOT EXISTS (
            SELECT 1 FROM deliveries INDEXED BY deliveries_by_job
            WHERE deliveries.owner = jobs.owner AND deliveries.job_id = jobs.id AND deliveries.status = 'pending'
        )
    ))
ORDER BY prune_at, n LIMIT ?

-- name: drop_results
-- Forgets results; the records stay until their own time.
UPDATE jobs SET result = NULL, result_bytes = NULL, prune_at = dropped.column2
FROM (VALUES (?, ?)) AS dropped
WHERE n = dropped.column1

-- name: drop_large_results
-- Forgets large results.
DELETE FROM results WHERE n IN (SELECT value FROM json_each(?))

-- name: bury
-- Leaves only a tombstone of an ended job.
UPDATE jobs SET
    status = 'pruned', buried_at = buried.column2, prune_at = NULL, fixed = buried.column3, input = NULL, result = NULL, error = NULL,
    result_bytes = NULL, worker = NULL
FROM (VALUES (?, ?, ?)) AS buried
WHERE n = buried.column1

-- name: drop_inputs
-- Forgets large inputs.
DELETE FROM inputs WHERE n IN (SELECT value FROM json_each(?))

-- name: drop_reports
-- Forgets progress.
DELETE FROM reports WHERE n IN (SELECT value FROM json_each(?))

-- name: drop_outputs
-- Forgets output events.
DELETE FROM outputs WHERE n IN (SELECT value FROM json_each(?))

-- name: drop_attempts
-- Forgets earlier attempts.
DELETE FROM attempts WHERE n IN (SELECT value FROM json_each(?))

-- name: drop_subscriptions
-- Forgets who had to hear.
DELETE FROM subscriptions WHERE n IN (SELECT value FROM json_each(?))

-- name: drop_dedups
-- A job that is forgotten answers for no duplicate.
DELETE FROM keys WHERE kind = 'dedup' AND n IN (SELECT value FROM json_each(?))

-- name: drop_deliveries
-- Forgets ended deliveries of a job; pending ones go when they end.
DELETE FROM deliveries WHERE owner = ? AND job_id = ? AND status <> 'pending'

-- name: tombstones
-- Tombstones whose time may have passed.
SELECT jobs.n, keys.until, jobs.owner, jobs.line FROM jobs INDEXED BY jobs_buried
LEFT JOIN keys INDEXED BY keys_by_job ON keys.n = jobs.n AND keys.kind = 'key'
WHERE jobs.buried_at IS NOT NULL AND jobs.buried_at <= ?
    AND NOT EXISTS (SELECT 1 FROM owed WHERE owed.n = jobs.n)
    AND NOT EXISTS (
        SELECT 1 FROM deliveries INDEXED BY deliveries_by_job
        WHERE deliveries.owner = jobs.owner AND deliveries.job_id = jobs.id AND deliveries.status = 'pending'
    )
ORDER BY jobs.buried_at, jobs.n LIMIT ?

-- name: keep_tombstone
-- Lets a tombstone wait for its key.
UPDATE jobs SET buried_at = ? WHERE n = ?

-- name: forget
-- Gives ids and keys free.
DELETE FROM jobs WHERE n IN (SELECT value FROM json_each(?))

-- name: forget_flows
-- Forgets flows that time has passed by: a job of theirs would start at the virtual time.
DELETE FROM flows WHERE priority >= 0 AND end_tag <= (
    SELECT passed.end_tag FROM flows AS passed
    WHERE passed.model = flows.model AND passed.owner = '' AND passed.priority = -1
)

-- name: forget_tallies
-- Forgets counters of which nothing is left.
DELETE FROM tallies
WHERE queued = 0 AND running = 0 AND succeeded = 0 AND failed = 0 AND canceled = 0
