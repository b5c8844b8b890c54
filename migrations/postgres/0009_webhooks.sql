-- Webhooks on events, and what became of each delivery.

CREATE TABLE webhooks (
    id               UUID PRIMARY KEY,
    name             TEXT NOT NULL,
    url              TEXT NOT NULL,
    -- Names of events, or "*".
    types            JSONB NOT NULL,
    team_id          UUID REFERENCES definitions (id),
    -- Whether it is told what only staff may know.
    internal         BOOLEAN NOT NULL,
    enabled          BOOLEAN NOT NULL,
    -- Why it was disabled, where nobody did it.
    disabled_reason  TEXT,
    secret           TEXT NOT NULL,
    -- What it was signed with before, and is until then.
    old_secret       TEXT,
    old_secret_until TIMESTAMPTZ,
    -- It is told of events after this one.
    since_seq        BIGINT NOT NULL,
    -- Since when every delivery has failed.
    failing_since    TIMESTAMPTZ,
    version          BIGINT NOT NULL,
    created_by       UUID,
    created_at       TIMESTAMPTZ NOT NULL,
    updated_at       TIMESTAMPTZ NOT NULL,
    deleted_at       TIMESTAMPTZ,
    CHECK ((old_secret IS NULL) = (old_secret_until IS NULL))
);
CREATE UNIQUE INDEX webhooks_name ON webhooks (name) WHERE deleted_at IS NULL;

CREATE TABLE webhook_deliveries (
    id              UUID PRIMARY KEY,
    webhook_id      UUID NOT NULL REFERENCES webhooks (id),
    -- The event; NULL for a test.
    seq             BIGINT,
    kind            TEXT NOT NULL,
    ticket_id       UUID,
    -- The request's body, the same for every try.
    body            TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed', 'cancelled')),
    -- Goes up with every job for it; only the job of the present turn may post.
    turn            BIGINT NOT NULL,
    attempts        BIGINT NOT NULL,
    -- How many of these came before it was last sent anew.
    attempts_before BIGINT NOT NULL,
    last_status     BIGINT,
    last_error      TEXT,
    last_response   TEXT,
    next_attempt_at TIMESTAMPTZ,
    created_at      TIMESTAMPTZ NOT NULL,
    settled_at      TIMESTAMPTZ,
    UNIQUE (webhook_id, seq),
    CHECK ((state = 'pending') = (next_attempt_at IS NOT NULL)),
    CHECK ((state = 'pending') = (settled_at IS NULL))
);
CREATE INDEX webhook_deliveries_list ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_settled ON webhook_deliveries (settled_at) WHERE settled_at IS NOT NULL;

-- One row: up to which event webhooks have been given their deliveries. Also the lock under which they are.
CREATE TABLE webhook_cursor (
    id  BIGINT PRIMARY KEY CHECK (id = 1),
    seq BIGINT NOT NULL
);
INSERT INTO webhook_cursor (id, seq) SELECT 1, seq FROM event_head;
