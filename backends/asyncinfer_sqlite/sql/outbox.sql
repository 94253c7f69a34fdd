-- name: owed
-- Owed events that may be leased now, oldest first.
SELECT number, owner, id, status, at, revision, subscriptions FROM owed INDEXED BY owed_due
WHERE due_at <= ? ORDER BY due_at, number LIMIT ?

-- name: lease_owed
-- Offers owed events again only when the lease has passed.
UPDATE owed SET due_at = ? WHERE number IN (SELECT value FROM json_each(?))

-- name: expand
-- Takes an owed event off; tells by its row count whether it was still owed.
DELETE FROM owed WHERE number = ?

-- name: add_delivery
-- Adds a pending delivery; a known id adds nothing.
INSERT INTO deliveries (
    id, owner, job_id, target, event, body, status, due_at, offered_at, created_at, endpoint, secret
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING

-- name: due
-- Pending deliveries whose time has come, oldest first, but none to targets that are skipped.
SELECT id FROM deliveries INDEXED BY deliveries_due
WHERE status = 'pending' AND offered_at <= ? AND target NOT IN (SELECT value FROM json_each(?))
ORDER BY offered_at, number LIMIT ?

-- name: take_tokens
-- Moves the counter of lease tokens on.
UPDATE store SET next_token = next_token + ? WHERE one = 1 RETURNING next_token

-- name: lease_delivery
-- Leases a delivery under a new token.
UPDATE deliveries SET offered_at = ?, lease_token = ? WHERE id = ? AND status = 'pending'

-- name: delivery
-- One delivery with its body.
SELECT id, owner, job_id, target, event, body, status, attempts, due_at, created_at, endpoint, secret, last, lease_token,
    attempts_before
FROM deliveries WHERE id = ?

-- name: of_owner
-- One delivery of an owner, without its body.
SELECT id, owner, job_id, target, event, x'', status, attempts, due_at, created_at, endpoint, secret, last, lease_token,
    attempts_before
FROM deliveries WHERE id = ? AND owner = ?

-- name: settle
-- Writes how an attempt went, if the lease token still holds.
UPDATE deliveries SET
    status = ?, attempts = attempts + 1, due_at = ifnull(?, due_at), offered_at = ifnull(?, due_at), lease_token = 0,
    last = ?
WHERE id = ? AND status = 'pending' AND lease_token = ? AND lease_token <> 0
RETURNING attempts, owner, job_id

-- name: keep_log
-- Adds a line to a delivery's log.
INSERT INTO delivery_attempts (delivery, number, attempt) VALUES (?, ?, ?)

-- name: drop_log
-- Bounds a delivery's log.
DELETE FROM delivery_attempts WHERE delivery = ? AND number <= ?

-- name: next_owed
-- When the next owed event may be leased.
SELECT min(due_at) FROM owed INDEXED BY owed_due

-- name: next_delivery
-- When the next pending delivery may be leased.
SELECT min(offered_at) FROM deliveries INDEXED BY deliveries_due WHERE status = 'pending'

-- name: older
-- Deliveries below an id, newest first.
SELECT id, owner, job_id, target, event, x'', status, attempts, due_at, created_at, endpoint, secret, last, lease_token,
    attempts_before
FROM deliveries
WHERE id < ?1 AND (?2 IS NULL OR owner = ?2) AND (?3 IS NULL OR job_id = ?3) AND (?4 IS NULL OR endpoint = ?4)
    AND (?5 IS NULL OR status = ?5) AND (?6 IS NULL OR created_at >= ?6) AND (?7 IS NULL OR created_at <= ?7)
ORDER BY id DESC LIMIT ?8

-- name: older_of_owner
-- An owner's deliveries below an id, newest first.
SELECT id, owner, job_id, target, event, x'', status, attempts, due_at, created_at, endpoint, secret, last, lease_token,
    attempts_before
FROM deliveries INDEXED BY deliveries_by_owner
WHERE owner = ?2 AND id < ?1 AND (?3 IS NULL OR job_id = ?3) AND (?4 IS NULL OR endpoint = ?4)
    AND (?5 IS NULL OR status = ?5) AND (?6 IS NULL OR created_at >= ?6) AND (?7 IS NULL OR created_at <= ?7)
ORDER BY id DESC LIMIT ?8

-- name: of_job
-- Deliveries of one job.
SELECT id, owner, job_id, target, event, x'', status, attempts, due_at, created_at, endpoint, secret, last, lease_token,
    attempts_before
FROM deliveries INDEXED BY deliveries_by_job WHERE owner = ? AND job_id = ? ORDER BY id

-- name: log
-- The attempts at one delivery, oldest first.
SELECT delivery_attempts.attempt FROM deliveries
JOIN delivery_attempts ON delivery_attempts.delivery = deliveries.id
WHERE deliveries.id = ? AND deliveries.owner = ? ORDER BY delivery_attempts.number

-- name: status
-- The status of an owner's delivery.
SELECT status FROM deliveries WHERE id = ? AND owner = ?

-- name: job_of
-- The job of an owner's delivery.
SELECT job_id FROM deliveries WHERE id = ? AND owner = ?

-- name: reopen
-- Makes an ended delivery pending again.
UPDATE deliveries SET status = 'pending', due_at = ?1, offered_at = ?1, attempts_before = attempts
WHERE id = ?2 AND status <> 'pending'

-- name: recover
-- Makes an endpoint's deliveries of a time pending again that came to nothing.
UPDATE deliveries INDEXED BY deliveries_by_endpoint
SET status = 'pending', due_at = ?1, offered_at = ?1, attempts_before = attempts
WHERE owner = ?2 AND endpoint IS NOT NULL AND endpoint = ?3 AND created_at BETWEEN ?4 AND ?5
    AND status IN ('exhausted', 'disabled')

-- name: disable
-- Sends nothing more to an endpoint.
UPDATE deliveries INDEXED BY deliveries_by_endpoint SET status = 'disabled', lease_token = 0
WHERE owner = ? AND endpoint IS NOT NULL AND endpoint = ? AND status = 'pending'
RETURNING id, owner, job_id

-- name: job_is_kept
-- Whether a job's record is still there.
SELECT EXISTS (SELECT 1 FROM jobs WHERE owner = ? AND id = ? AND status <> 'pruned')

-- name: drop_delivery
-- Forgets an ended delivery.
DELETE FROM deliveries WHERE id = ? AND status <> 'pending'

-- name: endpoint_revision
-- The revision of an endpoint.
SELECT revision FROM endpoints WHERE owner = ? AND id = ?

-- name: put_endpoint
-- Stores an endpoint.
INSERT INTO endpoints (owner, id, endpoint, revision) VALUES (?, ?, ?, ?)
ON CONFLICT (owner, id) DO UPDATE SET endpoint = excluded.endpoint, revision = excluded.revision

-- name: endpoints
-- Every endpoint.
SELECT endpoint, owner, id FROM endpoints ORDER BY id, owner

-- name: endpoints_of_owner
-- Every endpoint of an owner.
SELECT endpoint, owner, id FROM endpoints WHERE owner = ? ORDER BY id

-- name: endpoints_by_id
-- Endpoints of anybody by id.
SELECT endpoint FROM endpoints WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id, owner

-- name: some_of_owner
-- Endpoints of an owner by id.
SELECT endpoint FROM endpoints WHERE owner = ? AND id IN (SELECT value FROM json_each(?)) ORDER BY id

-- name: delete_endpoint
-- Forgets an endpoint.
DELETE FROM endpoints WHERE owner = ? AND id = ?
