-- Webhooks on events, and what became of each delivery.

CREATE TABLE webhooks (
    id               BLOB PRIMARY KEY NOT NULL,
    name             TEXT NOT NULL,
    url              TEXT NOT NULL,
    -- Names of events, or "*".
    types            TEXT NOT NULL,
    team_id          BLOB REFERENCES definitions (id),
    -- Whether it is told what only staff may know.
    internal         INTEGER NOT NULL,
    enabled          INTEGER NOT NULL,
    -- Why it was disabled, where nobody did it.
    disabled_reason  TEXT,
    secret           TEXT NOT NULL,
    -- What it was signed with before, and is until then.
    old_secret       TEXT,
    old_secret_until TEXT CHECK (old_secret_until LIKE '%+00:00'),
    -- It is told of events after this one.
    since_seq        INTEGER NOT NULL,
    -- Since when every delivery has failed.
    failing_since    TEXT CHECK (failing_since LIKE '%+00:00'),
    version          INTEGER NOT NULL,
    created_by       BLOB,
    created_at       TEXT NOT NULL CHECK (created_at LIKE '%+00:00'),
    updated_at       TEXT NOT NULL CHECK (updated_at LIKE '%+00:00'),
    deleted_at       TEXT CHECK (deleted_at LIKE '%+00:00'),
    CHECK ((old_secret IS NULL) = (old_secret_until IS NULL))
) STRICT;
CREATE UNIQUE INDEX webhooks_name ON webhooks (name) WHERE deleted_at IS NULL;

CREATE TABLE webhook_deliveries (
    id              BLOB PRIMARY KEY NOT NULL,
    webhook_id      BLOB NOT NULL REFERENCES webhooks (id),
    -- The event; NULL for a test.
    seq             INTEGER,
    kind            TEXT NOT NULL,
    ticket_id       BLOB,
    -- The request's body, the same for every try.
    body            TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed', 'cancelled')),
    -- Goes up with every job for it; only the job of the present turn may post.
    turn            INTEGER NOT NULL,
    attempts        INTEGER NOT NULL,
    -- How many of these came before it was last sent anew.
    attempts_before INTEGER NOT NULL,
    last_status     INTEGER,
    last_error      TEXT,
    last_response   TEXT,
    next_attempt_at TEXT CHECK (next_attempt_at LIKE '%+00:00'),
    created_at      TEXT NOT NULL CHECK (created_at LIKE '%+00:00'),
    settled_at      TEXT CHECK (settled_at LIKE '%+00:00'),
    UNIQUE (webhook_id, seq),
    CHECK ((state = 'pending') = (next_attempt_at IS NOT NULL)),
    CHECK ((state = 'pending') = (settled_at IS NULL))
) STRICT;
CREATE INDEX webhook_deliveries_list ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_settled ON webhook_deliveries (settled_at) WHERE settled_at IS NOT NULL;

-- One row: up to which event webhooks have been given their deliveries. Also the lock under which they are.
CREATE TABLE webhook_cursor (
    id  INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO webhook_cursor (id, seq) SELECT 1, seq FROM event_head;
