-- Calendars, policies, schedules and teams: what people define, in versions that never change.

CREATE TABLE definitions (
    id         UUID PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('calendar', 'sla_policy', 'escalation_policy', 'schedule', 'team')),
    name       TEXT NOT NULL,
    position   BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    version_id UUID NOT NULL,
    body       JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    deleted_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX definitions_name ON definitions (kind, name) WHERE deleted_at IS NULL;

CREATE TABLE definition_versions (
    id            UUID PRIMARY KEY,
    definition_id UUID NOT NULL REFERENCES definitions (id),
    version       BIGINT NOT NULL,
    name          TEXT NOT NULL,
    body          JSONB NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL,
    actor_id      UUID,
    UNIQUE (definition_id, version)
);

-- One row: goes up with every change of a definition, so that processes know when to read them again.
CREATE TABLE rulebook (
    id       BIGINT PRIMARY KEY CHECK (id = 1),
    revision BIGINT NOT NULL
);
INSERT INTO rulebook (id, revision) VALUES (1, 0);
