-- Text order must be time order, so every time is UTC written with +00:00. Times are made by the
-- application's clock, ids are UUID version 7 made in Rust, states are text.

CREATE TABLE users (
    id            BLOB PRIMARY KEY NOT NULL,
    email         TEXT NOT NULL UNIQUE CHECK (email = lower(email)),
    name          TEXT NOT NULL,
    role          TEXT NOT NULL CHECK (role IN ('end_user', 'devops_engineer', 'senior_engineer', 'team_lead', 'manager', 'admin')),
    password_hash TEXT NOT NULL,
    created_at    TEXT NOT NULL CHECK (created_at LIKE '%+00:00'),
    disabled_at   TEXT CHECK (disabled_at LIKE '%+00:00')
) STRICT;

CREATE TABLE tickets (
    id               BLOB NOT NULL UNIQUE,
    number           INTEGER PRIMARY KEY AUTOINCREMENT,
    title            TEXT NOT NULL CHECK (length(title) BETWEEN 1 AND 255),
    description      TEXT NOT NULL,
    status           TEXT NOT NULL CHECK (status IN ('new', 'open', 'in_progress', 'pending_info', 'escalated', 'resolved', 'closed', 'reopened')),
    priority         TEXT NOT NULL CHECK (priority IN ('critical', 'high', 'medium', 'low')),
    category         TEXT NOT NULL CHECK (category IN ('incident', 'service_request', 'change_request', 'problem', 'question')),
    environment      TEXT,
    affected_service TEXT,
    contact_name     TEXT,
    contact_email    TEXT,
    reporter_id      BLOB NOT NULL REFERENCES users (id),
    assignee_id      BLOB REFERENCES users (id),
    version          INTEGER NOT NULL,
    created_at       TEXT NOT NULL CHECK (created_at LIKE '%+00:00'),
    updated_at       TEXT NOT NULL CHECK (updated_at LIKE '%+00:00'),
    responded_at     TEXT CHECK (responded_at LIKE '%+00:00'),
    acknowledged_at  TEXT CHECK (acknowledged_at LIKE '%+00:00'),
    acknowledged_by  BLOB REFERENCES users (id),
    resolved_at      TEXT CHECK (resolved_at LIKE '%+00:00'),
    closed_at        TEXT CHECK (closed_at LIKE '%+00:00'),
    traceparent      TEXT
) STRICT;
INSERT INTO sqlite_sequence (name, seq) VALUES ('tickets', 1000);
CREATE INDEX tickets_created ON tickets (created_at, id);
CREATE INDEX tickets_updated ON tickets (updated_at, id);
CREATE INDEX tickets_assignee ON tickets (assignee_id) WHERE assignee_id IS NOT NULL;

CREATE TABLE ticket_labels (
    ticket_id BLOB NOT NULL REFERENCES tickets (id),
    label     TEXT NOT NULL,
    PRIMARY KEY (ticket_id, label)
) STRICT;
CREATE INDEX ticket_labels_label ON ticket_labels (label, ticket_id);

CREATE TABLE ticket_history (
    id        BLOB PRIMARY KEY NOT NULL,
    ticket_id BLOB NOT NULL REFERENCES tickets (id),
    version   INTEGER NOT NULL,
    field     TEXT NOT NULL,
    old_value TEXT,
    new_value TEXT,
    actor_id  BLOB,
    ip        TEXT,
    at        TEXT NOT NULL CHECK (at LIKE '%+00:00')
) STRICT;
CREATE INDEX ticket_history_ticket ON ticket_history (ticket_id, id);

-- One run of one metric on one ticket: the fold of its events, kept so that the sweep need not replay them.
CREATE TABLE sla_clocks (
    id              BLOB PRIMARY KEY NOT NULL,
    ticket_id       BLOB NOT NULL REFERENCES tickets (id),
    metric          TEXT NOT NULL CHECK (metric IN ('first_response', 'next_response', 'resolution')),
    state           TEXT NOT NULL CHECK (state IN ('active', 'paused', 'met', 'breached', 'cancelled')),
    target_us       INTEGER NOT NULL CHECK (target_us > 0),
    warn_at         TEXT NOT NULL,
    warned          INTEGER NOT NULL,
    started_at      TEXT NOT NULL CHECK (started_at LIKE '%+00:00'),
    credit_us       INTEGER NOT NULL,
    runs            TEXT NOT NULL,
    running_since   TEXT CHECK (running_since LIKE '%+00:00'),
    held_manually   INTEGER NOT NULL,
    held_by_status  INTEGER NOT NULL,
    stopped_at      TEXT CHECK (stopped_at LIKE '%+00:00'),
    cancelled       INTEGER NOT NULL,
    retargeted_at   TEXT CHECK (retargeted_at LIKE '%+00:00'),
    revision        INTEGER NOT NULL,
    due_at          TEXT CHECK (due_at LIKE '%+00:00'),
    breached_at     TEXT CHECK (breached_at LIKE '%+00:00'),
    detected_at     TEXT CHECK (detected_at LIKE '%+00:00'),
    waived_at       TEXT CHECK (waived_at LIKE '%+00:00'),
    seq             INTEGER NOT NULL,
    last_at         TEXT NOT NULL CHECK (last_at LIKE '%+00:00'),
    -- The earliest warning or breach still ahead; NULL when none can come without another event.
    next_fire_at    TEXT CHECK (next_fire_at LIKE '%+00:00')
) STRICT;
CREATE INDEX sla_clocks_ticket ON sla_clocks (ticket_id);
CREATE INDEX sla_clocks_due ON sla_clocks (next_fire_at) WHERE next_fire_at IS NOT NULL;

CREATE TABLE sla_events (
    clock_id    BLOB NOT NULL REFERENCES sla_clocks (id),
    seq         INTEGER NOT NULL,
    at          TEXT NOT NULL CHECK (at LIKE '%+00:00'),
    event       TEXT NOT NULL,
    actor_id    BLOB,
    PRIMARY KEY (clock_id, seq)
) STRICT;

CREATE TABLE escalations (
    id           BLOB PRIMARY KEY NOT NULL,
    ticket_id    BLOB NOT NULL REFERENCES tickets (id),
    clock_id     BLOB NOT NULL REFERENCES sla_clocks (id),
    opened_at    TEXT NOT NULL CHECK (opened_at LIKE '%+00:00'),
    steps_done   INTEGER NOT NULL,
    next_step_at TEXT CHECK (next_step_at LIKE '%+00:00'),
    stopped_at   TEXT CHECK (stopped_at LIKE '%+00:00'),
    stop_reason  TEXT CHECK (stop_reason IN ('acknowledged', 'paused', 'resolved')),
    CHECK ((next_step_at IS NULL) <> (stopped_at IS NULL))
) STRICT;
CREATE UNIQUE INDEX escalations_open ON escalations (ticket_id) WHERE stopped_at IS NULL;
CREATE INDEX escalations_due ON escalations (next_step_at) WHERE next_step_at IS NOT NULL;

-- One message to one recipient about one cause, whatever happens to the processes that send it.
CREATE TABLE notifications (
    id          BLOB PRIMARY KEY NOT NULL,
    ticket_id   BLOB NOT NULL REFERENCES tickets (id),
    cause       TEXT NOT NULL,
    cause_key   TEXT NOT NULL,
    recipient   TEXT NOT NULL,
    channel     TEXT NOT NULL CHECK (channel IN ('email')),
    state       TEXT NOT NULL CHECK (state IN ('pending', 'sent', 'suppressed', 'failed')),
    reason      TEXT,
    created_at  TEXT NOT NULL CHECK (created_at LIKE '%+00:00'),
    settled_at  TEXT CHECK (settled_at LIKE '%+00:00'),
    UNIQUE (cause_key, recipient, channel)
) STRICT;
CREATE INDEX notifications_ticket ON notifications (ticket_id);

-- The ledger: every job that has not ended. Ended ones move to job_history, so this stays small and hot.
CREATE TABLE jobs (
    id           BLOB PRIMARY KEY NOT NULL,
    kind         TEXT NOT NULL,
    priority     TEXT NOT NULL CHECK (priority IN ('high', 'normal', 'low')),
    payload      TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('ready', 'running')),
    run_at       TEXT NOT NULL CHECK (run_at LIKE '%+00:00'),
    -- When the relay should send it to the dispatcher, if it is still ready then.
    relay_at     TEXT NOT NULL CHECK (relay_at LIKE '%+00:00'),
    attempt      INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    crashes      INTEGER NOT NULL,
    lease_seq    INTEGER NOT NULL,
    worker_id    BLOB,
    started_at   TEXT CHECK (started_at LIKE '%+00:00'),
    deadline_at  TEXT CHECK (deadline_at LIKE '%+00:00'),
    unique_key   TEXT,
    traceparent  TEXT,
    last_error   TEXT,
    created_at   TEXT NOT NULL CHECK (created_at LIKE '%+00:00')
) STRICT;
CREATE INDEX jobs_ready ON jobs (priority, relay_at) WHERE state = 'ready';
CREATE INDEX jobs_running ON jobs (worker_id, deadline_at) WHERE state = 'running';
CREATE UNIQUE INDEX jobs_unique ON jobs (unique_key) WHERE unique_key IS NOT NULL;

CREATE TABLE job_history (
    id          BLOB PRIMARY KEY NOT NULL,
    kind        TEXT NOT NULL,
    priority    TEXT NOT NULL,
    payload     TEXT NOT NULL,
    outcome     TEXT NOT NULL CHECK (outcome IN ('done', 'discarded', 'dead')),
    attempt     INTEGER NOT NULL,
    crashes     INTEGER NOT NULL,
    worker_id   BLOB,
    unique_key  TEXT,
    traceparent TEXT,
    last_error  TEXT,
    created_at  TEXT NOT NULL CHECK (created_at LIKE '%+00:00'),
    started_at  TEXT CHECK (started_at LIKE '%+00:00'),
    finished_at TEXT NOT NULL CHECK (finished_at LIKE '%+00:00')
) STRICT;
CREATE INDEX job_history_finished ON job_history (finished_at);
CREATE INDEX job_history_dead ON job_history (finished_at) WHERE outcome = 'dead';

-- One row per boot of a process; a lease belongs to a row here.
CREATE TABLE workers (
    id         BLOB PRIMARY KEY NOT NULL,
    process    TEXT NOT NULL,
    host       TEXT NOT NULL,
    started_at TEXT NOT NULL CHECK (started_at LIKE '%+00:00'),
    seen_at    TEXT NOT NULL CHECK (seen_at LIKE '%+00:00')
) STRICT;

CREATE TABLE leases (
    name       TEXT PRIMARY KEY,
    holder     BLOB NOT NULL,
    expires_at TEXT NOT NULL CHECK (expires_at LIKE '%+00:00')
) STRICT;

CREATE TABLE schedules (
    name        TEXT PRIMARY KEY,
    cron        TEXT NOT NULL,
    zone        TEXT NOT NULL,
    kind        TEXT NOT NULL,
    payload     TEXT NOT NULL,
    next_run_at TEXT NOT NULL CHECK (next_run_at LIKE '%+00:00'),
    last_run_at TEXT CHECK (last_run_at LIKE '%+00:00')
) STRICT;

CREATE TABLE idempotency_keys (
    caller_id    BLOB NOT NULL,
    key          TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    token        BLOB NOT NULL,
    locked_until TEXT NOT NULL CHECK (locked_until LIKE '%+00:00'),
    status       INTEGER,
    etag         TEXT,
    body         TEXT,
    created_at   TEXT NOT NULL CHECK (created_at LIKE '%+00:00'),
    PRIMARY KEY (caller_id, key)
) STRICT;
CREATE UNIQUE INDEX idempotency_keys_token ON idempotency_keys (token);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);
