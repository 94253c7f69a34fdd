-- name: newest_id
-- The largest id of an owner: a larger one is stored nowhere.
SELECT max(id) FROM jobs WHERE owner = ?

-- name: by_id
-- The job that has an id, pruned or not.
SELECT n FROM jobs WHERE owner = ? AND id = ?

-- name: by_key
-- The job that holds an idempotency key or answers for a dedup hash.
SELECT n, until FROM keys WHERE owner = ? AND kind = ? AND key = ?

-- name: insert
-- Adds queued jobs.
INSERT INTO jobs (
    n, owner, id, line, place, tag, created_at, not_before, expire_at, batch_key, is_subscribed, input_bytes, fixed, input
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: keep_input
-- Keeps large inputs apart.
INSERT INTO inputs (n, data) VALUES (?, ?)

-- name: hold_key
-- Lets a job answer for a key; a dedup hash passes to the newest job.
INSERT INTO keys (owner, kind, key, n, until) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (owner, kind, key) DO UPDATE SET n = excluded.n, until = excluded.until

-- name: subscribe
-- Adds a subscription to a job, after those it has.
INSERT INTO subscriptions (n, position, subscription) VALUES (?, ?, ?)

-- name: mark_subscribed
-- Lets the ending of a job look for its subscriptions.
UPDATE jobs SET is_subscribed = 1 WHERE n = ?
