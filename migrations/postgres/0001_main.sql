-- Times are made by the application's clock, ids are UUID version 7 made in Rust, states are text.

CREATE TABLE users (
    id            UUID PRIMARY KEY,
    email         TEXT NOT NULL UNIQUE CHECK (email = lower(email)),
    name          TEXT NOT NULL,
    role          TEXT NOT NULL CHECK (role IN ('end_user', 'devops_engineer', 'senior_engineer', 'team_lead', 'manager', 'admin')),
    password_hash TEXT NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL,
    disabled_at   TIMESTAMPTZ
);

CREATE TABLE tickets (
    id               UUID PRIMARY KEY,
    number           BIGINT NOT NULL UNIQUE GENERATED ALWAYS AS IDENTITY (START WITH 1001),
    title            TEXT NOT NULL CHECK (length(title) BETWEEN 1 AND 255),
    description      TEXT NOT NULL,
    status           TEXT NOT NULL CHECK (status IN ('new', 'open', 'in_progress', 'pending_info', 'escalated', 'resolved', 'closed', 'reopened')),
    priority         TEXT NOT NULL CHECK (priority IN ('critical', 'high', 'medium', 'low')),
    category         TEXT NOT NULL CHECK (category IN ('incident', 'service_request', 'change_request', 'problem', 'question')),
    environment      TEXT,
    affected_service TEXT,
    contact_name     TEXT,
    contact_email    TEXT,
    reporter_id      UUID NOT NULL REFERENCES users (id),
    assignee_id      UUID REFERENCES users (id),
    version          BIGINT NOT NULL,
    created_at       TIMESTAMPTZ NOT NULL,
    updated_at       TIMESTAMPTZ NOT NULL,
    responded_at     TIMESTAMPTZ,
    acknowledged_at  TIMESTAMPTZ,
    acknowledged_by  UUID REFERENCES users (id),
    resolved_at      TIMESTAMPTZ,
    closed_at        TIMESTAMPTZ,
    traceparent      TEXT
);
CREATE INDEX tickets_created ON tickets (created_at, id);
CREATE INDEX tickets_updated ON tickets (updated_at, id);
CREATE INDEX tickets_assignee ON tickets (assignee_id) WHERE assignee_id IS NOT NULL;

CREATE TABLE ticket_labels (
    ticket_id UUID NOT NULL REFERENCES tickets (id),
    label     TEXT NOT NULL,
    PRIMARY KEY (ticket_id, label)
);
CREATE INDEX ticket_labels_label ON ticket_labels (label, ticket_id);

CREATE TABLE ticket_history (
    id        UUID PRIMARY KEY,
    ticket_id UUID NOT NULL REFERENCES tickets (id),
    version   BIGINT NOT NULL,
    field     TEXT NOT NULL,
    old_value TEXT,
    new_value TEXT,
    actor_id  UUID,
    ip        TEXT,
    at        TIMESTAMPTZ NOT NULL
);
CREATE INDEX ticket_history_ticket ON ticket_history (ticket_id, id);

-- One run of one metric on one ticket: the fold of its events, kept so that the sweep need not replay them.
CREATE TABLE sla_clocks (
    id              UUID PRIMARY KEY,
    ticket_id       UUID NOT NULL REFERENCES tickets (id),
    metric          TEXT NOT NULL CHECK (metric IN ('first_response', 'next_response', 'resolution')),
    state           TEXT NOT NULL CHECK (state IN ('active', 'paused', 'met', 'breached', 'cancelled')),
    target_us       BIGINT NOT NULL CHECK (target_us > 0),
    warn_at         JSONB NOT NULL,
    warned          BIGINT NOT NULL,
    started_at      TIMESTAMPTZ NOT NULL,
    credit_us       BIGINT NOT NULL,
    runs            JSONB NOT NULL,
    running_since   TIMESTAMPTZ,
    held_manually   BOOLEAN NOT NULL,
    held_by_status  BOOLEAN NOT NULL,
    stopped_at      TIMESTAMPTZ,
    cancelled       BOOLEAN NOT NULL,
    retargeted_at   TIMESTAMPTZ,
    revision        BIGINT NOT NULL,
    due_at          TIMESTAMPTZ,
    breached_at     TIMESTAMPTZ,
    detected_at     TIMESTAMPTZ,
    waived_at       TIMESTAMPTZ,
    seq             BIGINT NOT NULL,
    last_at         TIMESTAMPTZ NOT NULL,
    -- The earliest warning or breach still ahead; NULL when none can come without another event.
    next_fire_at    TIMESTAMPTZ
);
CREATE INDEX sla_clocks_ticket ON sla_clocks (ticket_id);
CREATE INDEX sla_clocks_due ON sla_clocks (next_fire_at) WHERE next_fire_at IS NOT NULL;

CREATE TABLE sla_events (
    clock_id    UUID NOT NULL REFERENCES sla_clocks (id),
    seq         BIGINT NOT NULL,
    at          TIMESTAMPTZ NOT NULL,
    event       JSONB NOT NULL,
    actor_id    UUID,
    PRIMARY KEY (clock_id, seq)
);

CREATE TABLE escalations (
    id           UUID PRIMARY KEY,
    ticket_id    UUID NOT NULL REFERENCES tickets (id),
    clock_id     UUID NOT NULL REFERENCES sla_clocks (id),
    opened_at    TIMESTAMPTZ NOT NULL,
    steps_done   BIGINT NOT NULL,
    next_step_at TIMESTAMPTZ,
    stopped_at   TIMESTAMPTZ,
    stop_reason  TEXT CHECK (stop_reason IN ('acknowledged', 'paused', 'resolved')),
    CHECK ((next_step_at IS NULL) <> (stopped_at IS NULL))
);
CREATE UNIQUE INDEX escalations_open ON escalations (ticket_id) WHERE stopped_at IS NULL;
CREATE INDEX escalations_due ON escalations (next_step_at) WHERE next_step_at IS NOT NULL;

-- One message to one recipient about one cause, whatever happens to the processes that send it.
CREATE TABLE notifications (
    id          UUID PRIMARY KEY,
    ticket_id   UUID NOT NULL REFERENCES tickets (id),
    cause       JSONB NOT NULL,
    cause_key   TEXT NOT NULL,
    recipient   TEXT NOT NULL,
    channel     TEXT NOT NULL CHECK (channel IN ('email')),
    state       TEXT NOT NULL CHECK (state IN ('pending', 'sent', 'suppressed', 'failed')),
    reason      TEXT,
    created_at  TIMESTAMPTZ NOT NULL,
    settled_at  TIMESTAMPTZ,
    UNIQUE (cause_key, recipient, channel)
);
CREATE INDEX notifications_ticket ON notifications (ticket_id);

-- The ledger: every job that has not ended. Ended ones move to job_history, so this stays small and hot.
CREATE TABLE jobs (
    id           UUID PRIMARY KEY,
    kind         TEXT NOT NULL,
    priority     TEXT NOT NULL CHECK (priority IN ('high', 'normal', 'low')),
    payload      JSONB NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('ready', 'running')),
    run_at       TIMESTAMPTZ NOT NULL,
    -- When the relay should send it to the dispatcher, if it is still ready then.
    relay_at     TIMESTAMPTZ NOT NULL,
    attempt      BIGINT NOT NULL,
    max_attempts BIGINT NOT NULL,
    crashes      BIGINT NOT NULL,
    lease_seq    BIGINT NOT NULL,
    worker_id    UUID,
    started_at   TIMESTAMPTZ,
    deadline_at  TIMESTAMPTZ,
    unique_key   TEXT,
    traceparent  TEXT,
    last_error   TEXT,
    created_at   TIMESTAMPTZ NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX jobs_ready ON jobs (priority, relay_at) WHERE state = 'ready';
CREATE INDEX jobs_running ON jobs (worker_id, deadline_at) WHERE state = 'running';
CREATE UNIQUE INDEX jobs_unique ON jobs (unique_key) WHERE unique_key IS NOT NULL;

CREATE TABLE job_history (
    id          UUID PRIMARY KEY,
    kind        TEXT NOT NULL,
    priority    TEXT NOT NULL,
    payload     JSONB NOT NULL,
    outcome     TEXT NOT NULL CHECK (outcome IN ('done', 'discarded', 'dead')),
    attempt     BIGINT NOT NULL,
    crashes     BIGINT NOT NULL,
    worker_id   UUID,
    unique_key  TEXT,
    traceparent TEXT,
    last_error  TEXT,
    created_at  TIMESTAMPTZ NOT NULL,
    started_at  TIMESTAMPTZ,
    finished_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX job_history_finished ON job_history (finished_at);
CREATE INDEX job_history_dead ON job_history (finished_at) WHERE outcome = 'dead';

-- One row per boot of a process; a lease belongs to a row here.
CREATE TABLE workers (
    id         UUID PRIMARY KEY,
    process    TEXT NOT NULL,
    host       TEXT NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    seen_at    TIMESTAMPTZ NOT NULL
);

CREATE TABLE leases (
    name       TEXT PRIMARY KEY,
    holder     UUID NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE schedules (
    name        TEXT PRIMARY KEY,
    cron        TEXT NOT NULL,
    zone        TEXT NOT NULL,
    kind        TEXT NOT NULL,
    payload     JSONB NOT NULL,
    next_run_at TIMESTAMPTZ NOT NULL,
    last_run_at TIMESTAMPTZ
);

CREATE TABLE idempotency_keys (
    caller_id    UUID NOT NULL,
    key          TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    token        UUID NOT NULL,
    locked_until TIMESTAMPTZ NOT NULL,
    status       BIGINT,
    etag         TEXT,
    body         TEXT,
    created_at   TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (caller_id, key)
);
CREATE UNIQUE INDEX idempotency_keys_token ON idempotency_keys (token);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);
