-- Imports of tickets by the thousand, and what reports and long lists are read by.

CREATE TABLE imports (
    id          BLOB PRIMARY KEY NOT NULL,
    user_id     BLOB NOT NULL REFERENCES users (id),
    ip          TEXT,
    -- Where the file lies until all of it was read; NULL where it was answered at once.
    file        TEXT,
    size        INTEGER NOT NULL,
    delimiter   TEXT NOT NULL,
    columns     TEXT NOT NULL,
    -- How many bytes of it were read, and on which line they end.
    position    INTEGER NOT NULL,
    line        INTEGER NOT NULL,
    rows        INTEGER NOT NULL,
    imported    INTEGER NOT NULL,
    failed      INTEGER NOT NULL,
    skipped     INTEGER NOT NULL,
    errors      INTEGER NOT NULL,
    -- Why it ended before the file did.
    stopped     TEXT,
    created_at  TEXT NOT NULL CHECK (created_at LIKE '%+00:00'),
    finished_at TEXT CHECK (finished_at LIKE '%+00:00')
) STRICT;

CREATE TABLE import_errors (
    import_id BLOB NOT NULL REFERENCES imports (id),
    line      INTEGER NOT NULL,
    -- Empty where it is about the row as a whole.
    field     TEXT NOT NULL,
    reason    TEXT NOT NULL,
    PRIMARY KEY (import_id, line, field)
) STRICT;

-- What tickets are called where they come from: each is imported once by each user.
CREATE TABLE external_ids (
    user_id     BLOB NOT NULL REFERENCES users (id),
    external_id TEXT NOT NULL,
    ticket_id   BLOB NOT NULL REFERENCES tickets (id),
    PRIMARY KEY (user_id, external_id)
) STRICT;

-- Open time that a clock had counted when it stopped; NULL while it has not.
ALTER TABLE sla_clocks ADD COLUMN elapsed_us INTEGER;
CREATE INDEX sla_clocks_breached ON sla_clocks (breached_at, id) WHERE breached_at IS NOT NULL;
CREATE INDEX sla_clocks_started ON sla_clocks (started_at);
CREATE INDEX tickets_resolved ON tickets (resolved_at) WHERE resolved_at IS NOT NULL;

-- By what the list of tickets is ordered. As columns, since SQLite finds no place in the middle of an expression's index.
ALTER TABLE tickets ADD COLUMN priority_rank INTEGER NOT NULL GENERATED ALWAYS AS (CASE priority WHEN 'critical' THEN 1 WHEN 'high' THEN 2 WHEN 'medium' THEN 3 ELSE 4 END) VIRTUAL;
ALTER TABLE tickets ADD COLUMN status_rank INTEGER NOT NULL GENERATED ALWAYS AS (CASE status WHEN 'new' THEN 1 WHEN 'open' THEN 2 WHEN 'in_progress' THEN 3 WHEN 'pending_info' THEN 4
    WHEN 'escalated' THEN 5 WHEN 'resolved' THEN 6 WHEN 'closed' THEN 7 ELSE 8 END) VIRTUAL;
CREATE INDEX tickets_by_priority ON tickets (priority_rank, id) WHERE deleted_at IS NULL;
CREATE INDEX tickets_by_status ON tickets (status_rank, id) WHERE deleted_at IS NULL;
