-- People say where they live and when they want to be left alone.
ALTER TABLE users ADD COLUMN tz TEXT;
ALTER TABLE users ADD COLUMN quiet_hours JSONB;

-- The address of whoever took a ticket on without having an account: counts while acknowledged_by is empty.
ALTER TABLE tickets ADD COLUMN acknowledged_as TEXT;

-- Notifications may be held until a storm or the night is over, may go to webhooks, and can be listed by event.
ALTER TABLE notifications DROP CONSTRAINT notifications_channel_check;
ALTER TABLE notifications ADD CONSTRAINT notifications_channel_check CHECK (channel IN ('email', 'webhook'));
ALTER TABLE notifications DROP CONSTRAINT notifications_state_check;
ALTER TABLE notifications ADD CONSTRAINT notifications_state_check
    CHECK (state IN ('pending', 'held', 'sent', 'suppressed', 'failed'));
ALTER TABLE notifications ADD COLUMN event TEXT;
UPDATE notifications SET event = cause ->> 'event';
ALTER TABLE notifications ALTER COLUMN event SET NOT NULL;
ALTER TABLE notifications ADD COLUMN origin JSONB;
ALTER TABLE notifications ADD COLUMN release_at TIMESTAMPTZ;
ALTER TABLE notifications ADD COLUMN digest_id UUID;
ALTER TABLE notifications ADD CONSTRAINT notifications_held_check CHECK (state <> 'held' OR release_at IS NOT NULL);
CREATE INDEX notifications_held ON notifications (recipient, release_at) WHERE state = 'held';
CREATE INDEX notifications_digest ON notifications (digest_id) WHERE digest_id IS NOT NULL;

-- How many notifications an address was sent in its current window. The row is also the lock under which its
-- notifications are held and released.
CREATE TABLE recipients (
    id             UUID PRIMARY KEY,
    address        TEXT NOT NULL UNIQUE,
    counted        BIGINT NOT NULL,
    window_ends_at TIMESTAMPTZ NOT NULL
);

-- Keys that all processes share, each made once by whoever needs it first.
CREATE TABLE signing_keys (
    name       TEXT PRIMARY KEY,
    key        TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
