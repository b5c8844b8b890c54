-- What clocks and escalations are ruled by: versions of definitions, which never change.

ALTER TABLE tickets
    ADD COLUMN team_id UUID REFERENCES definitions (id),
    -- The policy the ticket came under; NULL for the built-in one.
    ADD COLUMN sla_policy_version_id UUID REFERENCES definition_versions (id);

-- NULL: around the clock.
ALTER TABLE sla_clocks ADD COLUMN calendar_version_id UUID REFERENCES definition_versions (id);

ALTER TABLE escalations
    -- NULL: the built-in policy.
    ADD COLUMN policy_version_id UUID REFERENCES definition_versions (id),
    DROP CONSTRAINT escalations_stop_reason_check,
    ADD CHECK (stop_reason IN ('acknowledged', 'paused', 'resolved', 'exhausted'));

-- A change of a definition on its way to the clocks that run.
CREATE TABLE replans (
    id            UUID PRIMARY KEY,
    definition_id UUID NOT NULL REFERENCES definitions (id),
    mode          TEXT NOT NULL CHECK (mode IN ('retroactive', 'carry_fraction', 'restart')),
    -- The last clock that was looked at.
    cursor_id     UUID,
    examined      BIGINT NOT NULL,
    moved         BIGINT NOT NULL,
    breached      BIGINT NOT NULL,
    actor_id      UUID,
    created_at    TIMESTAMPTZ NOT NULL,
    finished_at   TIMESTAMPTZ
);
