-- name: line
-- The number of a model's line in a queue.
SELECT line FROM lines WHERE model = ? AND queue = ?

-- name: line_names
-- Model and queue of a line.
SELECT model, queue FROM lines WHERE line = ?

-- name: add_line
-- Makes a line known; an existing one keeps its number.
INSERT INTO lines (model, queue) VALUES (?, ?) ON CONFLICT DO NOTHING

-- name: newest_n
-- The largest row number.
SELECT max(n) FROM jobs

-- name: set_newest
-- Notes the newest instant seen; it never falls.
UPDATE store SET newest_at = max(newest_at, ?) WHERE one = 1

-- name: newest_at
-- The newest instant at which anything was written.
SELECT newest_at FROM store WHERE one = 1

-- name: load
-- Waiting jobs and bytes of a queue.
SELECT queued, queued_bytes FROM queues WHERE queue = ?

-- name: owner_load
-- Waiting jobs of an owner over all queues.
SELECT ifnull(sum(queued), 0) FROM tallies WHERE owner = ?

-- name: add_to_tallies
-- Adds what a batch has moved to the counters of (owner, line).
INSERT INTO tallies (owner, line, queued, queued_bytes, running, succeeded, failed, canceled)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (owner, line) DO UPDATE SET
    queued = queued + excluded.queued,
    queued_bytes = queued_bytes + excluded.queued_bytes,
    running = running + excluded.running,
    succeeded = succeeded + excluded.succeeded,
    failed = failed + excluded.failed,
    canceled = canceled + excluded.canceled

-- name: add_to_queues
-- Adds what a batch has moved to what waits in a queue.
INSERT INTO queues (queue, queued, queued_bytes) VALUES (?, ?, ?)
ON CONFLICT (queue) DO UPDATE SET
    queued = queued + excluded.queued, queued_bytes = queued_bytes + excluded.queued_bytes

-- name: flow
-- End tag of a flow; of owner '' and priority -1, the model's virtual time.
SELECT end_tag FROM flows WHERE model = ? AND owner = ? AND priority = ?

-- name: set_flows
-- Moves flows on.
INSERT INTO flows (model, owner, priority, end_tag) VALUES (?, ?, ?, ?)
ON CONFLICT (model, owner, priority) DO UPDATE SET end_tag = excluded.end_tag

-- name: tie_worker
-- Notes which lock proves that a worker lives.
INSERT INTO workers (worker, lock) VALUES (?, ?) ON CONFLICT (worker) DO UPDATE SET lock = excluded.lock
