-- name: jobs
-- Jobs by key, with their latest progress.
SELECT jobs.n, jobs.owner, jobs.id, jobs.line, jobs.status, jobs.revision, jobs.created_at, jobs.attempt, jobs.failures,
    jobs.crashes, jobs.fixed, jobs.result_bytes, jobs.result, jobs.error, jobs.not_before, jobs.expire_at,
    jobs.started_at, jobs.finished_at, jobs.cancel_requested_at, jobs.worker, jobs.renewals, jobs.tag,
    jobs.is_subscribed, reports.progress
FROM (VALUES (?, ?)) AS wanted
JOIN jobs ON jobs.owner = wanted.column1 AND jobs.id = wanted.column2
LEFT JOIN reports ON reports.n = jobs.n
WHERE jobs.status <> 'pruned'

-- name: jobs_by_number
-- Jobs by row number, with their latest progress and without results.
SELECT jobs.n, jobs.owner, jobs.id, jobs.line, jobs.status, jobs.revision, jobs.created_at, jobs.attempt, jobs.failures,
    jobs.crashes, jobs.fixed, jobs.result_bytes, NULL, jobs.error, jobs.not_before, jobs.expire_at,
    jobs.started_at, jobs.finished_at, jobs.cancel_requested_at, jobs.worker, jobs.renewals, jobs.tag,
    jobs.is_subscribed, reports.progress
FROM jobs LEFT JOIN reports ON reports.n = jobs.n
WHERE jobs.n IN (SELECT value FROM json_each(?)) AND jobs.status <> 'pruned'

-- name: result
-- A large result.
SELECT data FROM results WHERE n = ?

-- name: submission
-- A job as it was inserted.
SELECT jobs.n, jobs.line, jobs.expire_at, jobs.batch_key, jobs.fixed, jobs.input, inputs.data
FROM jobs LEFT JOIN inputs ON inputs.n = jobs.n
WHERE jobs.owner = ? AND jobs.id = ? AND jobs.status <> 'pruned'

-- name: is_pruned
-- Whether an id belongs to a tombstone.
SELECT EXISTS (SELECT 1 FROM jobs WHERE owner = ? AND id = ? AND status = 'pruned')

-- name: line_names
-- Model and queue of a line.
SELECT model, queue FROM lines WHERE line = ?

-- name: head
-- What the events and attempts of a job are derived from. A damaged number reads as 0: the job can still be looked at.
SELECT n, status, CAST(revision AS INTEGER), created_at, CAST(attempt AS INTEGER), started_at, finished_at, error,
    worker, ending
FROM jobs WHERE owner = ? AND id = ? AND status <> 'pruned'

-- name: attempts
-- Earlier attempts of a job, newest first.
SELECT number, worker, started_at, ended_at, outcome, error, revision FROM attempts
WHERE n = ? ORDER BY number DESC LIMIT ?

-- name: outputs
-- Output events behind a revision.
SELECT revision, attempt, at, data FROM outputs WHERE n = ? AND revision > ? ORDER BY revision LIMIT ?

-- name: report
-- The latest progress, and which output has left.
SELECT progress, progress_revision, progress_attempt, progress_at, dropped_revision FROM reports WHERE n = ?

-- name: counts
-- Counters of all owners by line.
SELECT lines.queue, lines.model, tallies.line, sum(queued), sum(running), sum(succeeded), sum(failed), sum(canceled),
    sum(queued_bytes)
FROM tallies CROSS JOIN lines ON lines.line = tallies.line GROUP BY tallies.line

-- name: counts_of_owner
-- Counters of one owner by line.
SELECT lines.queue, lines.model, tallies.line, queued, running, succeeded, failed, canceled, queued_bytes
FROM tallies CROSS JOIN lines ON lines.line = tallies.line WHERE tallies.owner = ?

-- name: paused
-- Paused queues.
SELECT queue FROM queues WHERE is_paused = 1

-- name: pause
-- Pauses a queue.
INSERT INTO queues (queue, is_paused) VALUES (?, 1) ON CONFLICT (queue) DO UPDATE SET is_paused = 1

-- name: resume
-- Resumes a queue.
UPDATE queues SET is_paused = 0 WHERE queue = ?

-- name: oldest_ready
-- The oldest ready job of a line.
SELECT min(n) FROM jobs INDEXED BY jobs_ready WHERE place = 'ready' AND line = ?

-- name: oldest_solo
-- The oldest waiting last chance of a line.
SELECT min(n) FROM jobs INDEXED BY jobs_solo WHERE place = 'solo' AND line = ?

-- name: oldest_delayed
-- The oldest delayed job of a line.
SELECT min(n) FROM jobs INDEXED BY jobs_delayed WHERE place = 'delayed' AND line = ?

-- name: oldest_of_owner
-- The oldest waiting job of an owner in a line.
SELECT min(created_at) FROM jobs WHERE owner = ? AND line = ? AND status = 'queued'

-- name: created_at
-- When a job was accepted.
SELECT created_at FROM jobs WHERE n = ?

-- name: place
-- Where a job waits.
SELECT n, line, tag, place FROM jobs WHERE owner = ? AND id = ? AND status = 'queued'

-- name: ready_before
-- Ready jobs of a line in front of (tag, n).
SELECT count(*) FROM jobs INDEXED BY jobs_ready
WHERE place = 'ready' AND line = ? AND tag <= ? AND (tag, n) < (?, ?)

-- name: solo_before
-- Waiting last chances of a line in front of (tag, n).
SELECT count(*) FROM jobs INDEXED BY jobs_solo
WHERE place = 'solo' AND line = ? AND tag <= ? AND (tag, n) < (?, ?)

-- name: lines_beside
-- The lines of the same model, and whether their queues are paused.
SELECT beside.line, ifnull(queues.is_paused, 0)
FROM lines AS mine JOIN lines AS beside ON beside.model = mine.model
LEFT JOIN queues ON queues.queue = beside.queue
WHERE mine.line = ?

-- name: lines_matching
-- The lines of a model or of a queue.
SELECT line FROM lines WHERE (?1 IS NULL OR model = ?1) AND (?2 IS NULL OR queue = ?2)

-- name: older_bound
-- Where a look at so many jobs of an owner below (id, owner) ends.
SELECT id FROM jobs INDEXED BY jobs_by_id
WHERE owner = ?1 AND id <= ?2 AND (id < ?2 OR ?1 < ?3) ORDER BY id DESC LIMIT 1 OFFSET ?4

-- name: older
-- Selected jobs of an owner below (id, owner) and down to a bound.
SELECT n, owner, id FROM jobs INDEXED BY jobs_by_id
WHERE owner = ?1 AND id <= ?2 AND (id < ?2 OR ?1 < ?3) AND id >= ?4
    AND status <> 'pruned' AND (?5 IS NULL OR status IN (SELECT value FROM json_each(?5)))
    AND (?6 IS NULL OR line IN (SELECT value FROM json_each(?6)))
    AND (?7 IS NULL OR created_at >= ?7) AND (?8 IS NULL OR created_at <= ?8)
ORDER BY id DESC LIMIT ?9

-- name: newer_bound
-- Where a look at so many jobs of an owner above (id, owner) ends.
SELECT id FROM jobs INDEXED BY jobs_by_id
WHERE owner = ?1 AND id >= ?2 AND (id > ?2 OR ?1 > ?3) ORDER BY id LIMIT 1 OFFSET ?4

-- name: newer
-- Selected jobs of an owner above (id, owner) and up to a bound.
SELECT n, owner, id FROM jobs INDEXED BY jobs_by_id
WHERE owner = ?1 AND id >= ?2 AND (id > ?2 OR ?1 > ?3) AND id <= ?4
    AND status <> 'pruned' AND (?5 IS NULL OR status IN (SELECT value FROM json_each(?5)))
    AND (?6 IS NULL OR line IN (SELECT value FROM json_each(?6)))
    AND (?7 IS NULL OR created_at >= ?7) AND (?8 IS NULL OR created_at <= ?8)
ORDER BY id LIMIT ?9

-- name: owned_older_bound
-- Where a look at so many jobs of named owners below (id, owner) ends.
SELECT id FROM jobs INDEXED BY jobs_owned
WHERE owner <> '' AND id <= ?2 AND (id < ?2 OR owner < ?3) ORDER BY id DESC LIMIT 1 OFFSET ?4

-- name: owned_older
-- Selected jobs of named owners below (id, owner) and down to a bound.
SELECT n, owner, id FROM jobs INDEXED BY jobs_owned
WHERE owner <> '' AND id <= ?2 AND (id < ?2 OR owner < ?3) AND id >= ?4
    AND status <> 'pruned' AND (?5 IS NULL OR status IN (SELECT value FROM json_each(?5)))
    AND (?6 IS NULL OR line IN (SELECT value FROM json_each(?6)))
    AND (?7 IS NULL OR created_at >= ?7) AND (?8 IS NULL OR created_at <= ?8)
ORDER BY id DESC, owner DESC LIMIT ?9

-- name: owned_newer_bound
-- Where a look at so many jobs of named owners above (id, owner) ends.
SELECT id FROM jobs INDEXED BY jobs_owned
WHERE owner <> '' AND id >= ?2 AND (id > ?2 OR owner > ?3) ORDER BY id LIMIT 1 OFFSET ?4

-- name: owned_newer
-- Selected jobs of named owners above (id, owner) and up to a bound.
SELECT n, owner, id FROM jobs INDEXED BY jobs_owned
WHERE owner <> '' AND id >= ?2 AND (id > ?2 OR owner > ?3) AND id <= ?4
    AND status <> 'pruned' AND (?5 IS NULL OR status IN (SELECT value FROM json_each(?5)))
    AND (?6 IS NULL OR line IN (SELECT value FROM json_each(?6)))
    AND (?7 IS NULL OR created_at >= ?7) AND (?8 IS NULL OR created_at <= ?8)
ORDER BY id, owner LIMIT ?9

-- name: fixed
-- The labels' blob of jobs.
SELECT n, fixed FROM jobs WHERE n IN (SELECT value FROM json_each(?))
