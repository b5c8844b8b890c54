-- What clocks and escalations are ruled by: versions of definitions, which never change.

ALTER TABLE tickets ADD COLUMN team_id BLOB REFERENCES definitions (id);
-- The policy the ticket came under; NULL for the built-in one.
ALTER TABLE tickets ADD COLUMN sla_policy_version_id BLOB REFERENCES definition_versions (id);

-- NULL: around the clock.
ALTER TABLE sla_clocks ADD COLUMN calendar_version_id BLOB REFERENCES definition_versions (id);

-- SQLite cannot change a check, so the table is made anew.
CREATE TABLE escalations_new (
    id                BLOB PRIMARY KEY NOT NULL,
    ticket_id         BLOB NOT NULL REFERENCES tickets (id),
    clock_id          BLOB NOT NULL REFERENCES sla_clocks (id),
    opened_at         TEXT NOT NULL CHECK (opened_at LIKE '%+00:00'),
    steps_done        INTEGER NOT NULL,
    next_step_at      TEXT CHECK (next_step_at LIKE '%+00:00'),
    stopped_at        TEXT CHECK (stopped_at LIKE '%+00:00'),
    stop_reason       TEXT CHECK (stop_reason IN ('acknowledged', 'paused', 'resolved', 'exhausted')),
    -- NULL: the built-in policy.
    policy_version_id BLOB REFERENCES definition_versions (id),
    CHECK ((next_step_at IS NULL) <> (stopped_at IS NULL))
) STRICT;
INSERT INTO escalations_new (id, ticket_id, clock_id, opened_at, steps_done, next_step_at, stopped_at, stop_reason)
SELECT id, ticket_id, clock_id, opened_at, steps_done, next_step_at, stopped_at, stop_reason FROM escalations;
DROP TABLE escalations;
ALTER TABLE escalations_new RENAME TO escalations;
CREATE UNIQUE INDEX escalations_open ON escalations (ticket_id) WHERE stopped_at IS NULL;
CREATE INDEX escalations_due ON escalations (next_step_at) WHERE next_step_at IS NOT NULL;

-- A change of a definition on its way to the clocks that run.
CREATE TABLE replans (
    id            BLOB PRIMARY KEY NOT NULL,
    definition_id BLOB NOT NULL REFERENCES definitions (id),
    mode          TEXT NOT NULL CHECK (mode IN ('retroactive', 'carry_fraction', 'restart')),
    -- The last clock that was looked at.
    cursor_id     BLOB,
    examined      INTEGER NOT NULL,
    moved         INTEGER NOT NULL,
    breached      INTEGER NOT NULL,
    actor_id      BLOB,
    created_at    TEXT NOT NULL CHECK (created_at LIKE '%+00:00'),
    finished_at   TEXT CHECK (finished_at LIKE '%+00:00')
) STRICT;
