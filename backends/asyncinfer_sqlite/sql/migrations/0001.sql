-- The first schema. Instants are integer milliseconds; `n` is a job's row number, in order of insertion.

CREATE TABLE store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    next_token INTEGER NOT NULL,
    newest_at INTEGER NOT NULL
);
INSERT INTO store VALUES (1, 1, 0);

-- A line is where jobs wait: one model in one queue.
CREATE TABLE lines (
    line INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    model TEXT NOT NULL,
    UNIQUE (model, queue)
);

-- What never changes in a job lies in `fixed`, for an UPDATE rewrites the row; inputs and results from 2 KiB lie apart.
CREATE TABLE jobs (
    n INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    line INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'queued',
    place TEXT,
    revision INTEGER NOT NULL DEFAULT 1,
    attempt INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    renewals INTEGER NOT NULL DEFAULT 0,
    tag REAL NOT NULL,
    created_at INTEGER NOT NULL,
    not_before INTEGER,
    expire_at INTEGER,
    started_at INTEGER,
    finished_at INTEGER,
    prune_at INTEGER,
    buried_at INTEGER,
    cancel_requested_at INTEGER,
    worker TEXT,
    batch_key TEXT NOT NULL,
    is_subscribed INTEGER NOT NULL,
    input_bytes INTEGER NOT NULL,
    result_bytes INTEGER,
    fixed BLOB NOT NULL,
    input BLOB,
    result BLOB,
    error BLOB,
    move_id BLOB,
    ending TEXT,
    -- As chains of OR: an IN list builds a temporary table at every write, 12.7 of 30 us of CPU a job.
    CHECK (
        status = 'queued' OR status = 'running' OR status = 'succeeded'
        OR status = 'failed' OR status = 'canceled' OR status = 'pruned'
    ),
    CHECK (place = 'ready' OR place = 'solo' OR place = 'delayed'),
    CHECK ((place IS NOT NULL) = (status = 'queued')),
    CHECK ((finished_at IS NOT NULL) = (status <> 'queued' AND status <> 'running')),
    CHECK (status <> 'running' OR (worker IS NOT NULL AND started_at IS NOT NULL)),
    CHECK ((buried_at IS NOT NULL) = (status = 'pruned')),
    CHECK (attempt >= 0 AND failures >= 0 AND crashes >= 0)
);
-- An ending of a running job touches two of these and a claim does not touch those of the ended: an index whose condition
-- names a column is looked at whenever that column is set.
CREATE UNIQUE INDEX jobs_by_id ON jobs (owner, id);
CREATE INDEX jobs_owned ON jobs (id, owner) WHERE owner <> '';
CREATE INDEX jobs_ready ON jobs (line, tag) WHERE place = 'ready';
CREATE INDEX jobs_batch ON jobs (line, batch_key, tag) WHERE place = 'ready' AND batch_key <> '';
CREATE INDEX jobs_solo ON jobs (line, tag) WHERE place = 'solo';
CREATE INDEX jobs_delayed ON jobs (line, not_before) WHERE place = 'delayed';
CREATE INDEX jobs_expiry ON jobs (expire_at) WHERE place IS NOT NULL AND expire_at IS NOT NULL;
CREATE INDEX jobs_running ON jobs (owner, id) WHERE status = 'running';
CREATE INDEX jobs_prune ON jobs (prune_at) WHERE prune_at IS NOT NULL;
CREATE INDEX jobs_buried ON jobs (buried_at) WHERE buried_at IS NOT NULL;

CREATE TABLE inputs (
    n INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    data BLOB NOT NULL
);
CREATE TABLE results (
    n INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    data BLOB NOT NULL
);
CREATE TABLE checkpoints (
    n INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    data BLOB NOT NULL
);

-- Idempotency keys (held as long as their row) and dedup hashes (held until `until`).
CREATE TABLE keys (
    owner TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('key', 'dedup')),
    key BLOB NOT NULL,
    n INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    until INTEGER,
    PRIMARY KEY (owner, kind, key)
) WITHOUT ROWID;
CREATE INDEX keys_by_job ON keys (n);

-- Attempts that ended with the job queued again; the newest one is derived from the job's own row.
CREATE TABLE attempts (
    n INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    number INTEGER NOT NULL,
    worker TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    error BLOB,
    move_id BLOB,
    revision INTEGER NOT NULL,
    PRIMARY KEY (n, number)
) WITHOUT ROWID;

-- The latest progress of a job, and how much of its output stream is kept.
CREATE TABLE reports (
    n INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    progress BLOB,
    progress_revision INTEGER NOT NULL DEFAULT 0,
    progress_attempt INTEGER NOT NULL DEFAULT 0,
    progress_at INTEGER NOT NULL DEFAULT 0,
    outputs INTEGER NOT NULL DEFAULT 0,
    dropped_revision INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE outputs (
    n INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    revision INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    at INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (n, revision)
) WITHOUT ROWID;

-- Counters: read and written once a batch.
CREATE TABLE tallies (
    owner TEXT NOT NULL,
    line INTEGER NOT NULL REFERENCES lines,
    queued INTEGER NOT NULL,
    queued_bytes INTEGER NOT NULL,
    running INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    canceled INTEGER NOT NULL,
    PRIMARY KEY (owner, line)
) WITHOUT ROWID;
CREATE TABLE queues (
    queue TEXT PRIMARY KEY,
    is_paused INTEGER NOT NULL DEFAULT 0,
    queued INTEGER NOT NULL DEFAULT 0,
    queued_bytes INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- Fair order: the end tag of each flow; under owner '' and priority -1, the largest tag claimed of the model.
CREATE TABLE flows (
    model TEXT NOT NULL,
    owner TEXT NOT NULL,
    priority INTEGER NOT NULL,
    end_tag REAL NOT NULL,
    PRIMARY KEY (model, owner, priority)
) WITHOUT ROWID;

-- `lock` names the file that the worker's store holds locked while it lives.
CREATE TABLE workers (
    worker TEXT PRIMARY KEY,
    lock TEXT NOT NULL,
    until INTEGER,
    info BLOB
) WITHOUT ROWID;
CREATE TABLE published_models (
    model TEXT PRIMARY KEY,
    info BLOB NOT NULL
) WITHOUT ROWID;

-- The outbox. A subscription is kept until its job is pruned; an owed event until it is expanded into deliveries.
CREATE TABLE subscriptions (
    n INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    position INTEGER NOT NULL,
    subscription BLOB NOT NULL,
    PRIMARY KEY (n, position)
) WITHOUT ROWID;
CREATE TABLE owed (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    n INTEGER NOT NULL REFERENCES jobs,
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('succeeded', 'failed', 'canceled')),
    at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    subscriptions BLOB NOT NULL
);
CREATE INDEX owed_due ON owed (due_at);
CREATE INDEX owed_by_job ON owed (n);
CREATE TABLE deliveries (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    job_id TEXT NOT NULL,
    target TEXT NOT NULL,
    event TEXT NOT NULL,
    body BLOB NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'delivered', 'exhausted', 'disabled')),
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER NOT NULL,
    offered_at INTEGER NOT NULL,
    lease_token INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    endpoint TEXT,
    secret TEXT NOT NULL,
    last BLOB
);
CREATE INDEX deliveries_due ON deliveries (offered_at) WHERE status = 'pending';
CREATE INDEX deliveries_by_job ON deliveries (owner, job_id);
CREATE INDEX deliveries_by_endpoint ON deliveries (owner, endpoint, created_at) WHERE endpoint IS NOT NULL;
CREATE INDEX deliveries_by_owner ON deliveries (owner, id);
CREATE TABLE delivery_attempts (
    delivery TEXT NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    attempt BLOB NOT NULL,
    PRIMARY KEY (delivery, number)
) WITHOUT ROWID;
CREATE TABLE endpoints (
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    endpoint BLOB NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (owner, id)
) WITHOUT ROWID;
