-- Calendars, policies, schedules and teams: what people define, in versions that never change.

CREATE TABLE definitions (
    id         BLOB PRIMARY KEY NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('calendar', 'sla_policy', 'escalation_policy', 'schedule', 'team')),
    name       TEXT NOT NULL,
    position   INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    version_id BLOB NOT NULL,
    body       TEXT NOT NULL,
    created_at TEXT NOT NULL CHECK (created_at LIKE '%+00:00'),
    updated_at TEXT NOT NULL CHECK (updated_at LIKE '%+00:00'),
    deleted_at TEXT CHECK (deleted_at LIKE '%+00:00')
) STRICT;
CREATE UNIQUE INDEX definitions_name ON definitions (kind, name) WHERE deleted_at IS NULL;

CREATE TABLE definition_versions (
    id            BLOB PRIMARY KEY NOT NULL,
    definition_id BLOB NOT NULL REFERENCES definitions (id),
    version       INTEGER NOT NULL,
    name          TEXT NOT NULL,
    body          TEXT NOT NULL,
    created_at    TEXT NOT NULL CHECK (created_at LIKE '%+00:00'),
    actor_id      BLOB,
    UNIQUE (definition_id, version)
) STRICT;

-- One row: goes up with every change of a definition, so that processes know when to read them again.
CREATE TABLE rulebook (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL
) STRICT;
INSERT INTO rulebook (id, revision) VALUES (1, 0);
