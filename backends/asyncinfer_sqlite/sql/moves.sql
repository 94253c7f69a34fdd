-- name: rows
-- What the moves decide by, of many jobs by row number.
SELECT n, owner, id, line, status, place, revision, attempt, failures, crashes, renewals, tag, started_at,
    finished_at, cancel_requested_at, worker, is_subscribed, input_bytes, move_id, expire_at, fixed
FROM jobs WHERE n IN (SELECT value FROM json_each(?))

-- name: number
-- The row number of one job that has not been pruned.
SELECT n FROM jobs WHERE owner = ? AND id = ? AND status <> 'pruned'

-- name: end
-- Ends jobs; a job that is no longer at (status, attempt) is left alone and not counted.
UPDATE jobs SET
    status = ended.column4, place = NULL, revision = revision + 1, failures = ended.column5, crashes = ended.column6,
    finished_at = ended.column7, prune_at = ended.column8, result_bytes = ended.column9, result = ended.column10,
    error = ended.column11, move_id = ended.column12, ending = ended.column13
FROM (VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)) AS ended
WHERE n = ended.column1 AND status = ended.column2 AND attempt = ended.column3

-- name: succeed
-- Ends running jobs that nobody subscribed to, unread; one that is not (running, attempt) any more is not counted.
UPDATE jobs SET
    status = 'succeeded', revision = revision + 1, finished_at = ?, prune_at = ?, result_bytes = ended.column4,
    result = ended.column5, move_id = ended.column6
FROM (VALUES (?, ?, ?, ?, ?, ?)) AS ended
WHERE n = ended.column1 AND status = 'running' AND attempt = ended.column2 AND id = ended.column3 AND is_subscribed = 0

-- name: queue_again
-- Returns running jobs to the queue; a job that is no longer at (running, attempt) is left alone and not counted.
UPDATE jobs SET
    status = 'queued', place = again.column3, revision = revision + 1, failures = again.column4, crashes = again.column5,
    tag = again.column6, not_before = again.column7, worker = NULL, move_id = NULL
FROM (VALUES (?, ?, ?, ?, ?, ?, ?)) AS again
WHERE n = again.column1 AND status = 'running' AND attempt = again.column2

-- name: keep_attempt
-- Keeps attempts that ended with the job queued again.
INSERT INTO attempts (n, number, worker, started_at, ended_at, outcome, error, move_id, revision)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: drop_attempts
-- Bounds the attempts kept of one job.
DELETE FROM attempts WHERE n = ? AND number <= ?

-- name: keep_result
-- Keeps large results apart.
INSERT INTO results (n, data) VALUES (?, ?)

-- name: has_checkpoints
-- Whether any job has a checkpoint.
SELECT EXISTS (SELECT 1 FROM checkpoints WHERE n >= 0)

-- name: drop_checkpoints
-- Drops the checkpoints of jobs that have ended.
DELETE FROM checkpoints WHERE n IN (SELECT value FROM json_each(?))

-- name: subscriptions
-- Who must hear of a job's ending.
SELECT subscription FROM subscriptions WHERE n = ? ORDER BY position

-- name: owe
-- Writes owed events, in the step that ends the job.
INSERT INTO owed (n, owner, id, status, at, revision, due_at, subscriptions) VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- name: earlier_move
-- The write that ended an earlier attempt.
SELECT move_id FROM attempts WHERE n = ? AND number = ?
