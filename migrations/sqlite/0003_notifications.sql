-- People say where they live and when they want to be left alone.
ALTER TABLE users ADD COLUMN tz TEXT;
ALTER TABLE users ADD COLUMN quiet_hours TEXT;

-- The address of whoever took a ticket on without having an account: counts while acknowledged_by is empty.
ALTER TABLE tickets ADD COLUMN acknowledged_as TEXT;

-- Notifications may be held until a storm or the night is over, may go to webhooks, and can be listed by event.
-- SQLite cannot change a CHECK, so the table is built anew; nothing refers to it.
CREATE TABLE notifications_anew (
    id          BLOB PRIMARY KEY NOT NULL,
    ticket_id   BLOB NOT NULL REFERENCES tickets (id),
    event       TEXT NOT NULL,
    cause       TEXT NOT NULL,
    cause_key   TEXT NOT NULL,
    recipient   TEXT NOT NULL,
    channel     TEXT NOT NULL CHECK (channel IN ('email', 'webhook')),
    origin      TEXT,
    state       TEXT NOT NULL CHECK (state IN ('pending', 'held', 'sent', 'suppressed', 'failed')),
    reason      TEXT,
    created_at  TEXT NOT NULL CHECK (created_at LIKE '%+00:00'),
    release_at  TEXT CHECK (release_at LIKE '%+00:00'),
    digest_id   BLOB,
    settled_at  TEXT CHECK (settled_at LIKE '%+00:00'),
    UNIQUE (cause_key, recipient, channel),
    CHECK (state <> 'held' OR release_at IS NOT NULL)
) STRICT;
INSERT INTO notifications_anew
    (id, ticket_id, event, cause, cause_key, recipient, channel, state, reason, created_at, settled_at)
SELECT id, ticket_id, json_extract(cause, '$.event'), cause, cause_key, recipient, channel, state, reason, created_at,
    settled_at
FROM notifications;
DROP TABLE notifications;
ALTER TABLE notifications_anew RENAME TO notifications;
CREATE INDEX notifications_ticket ON notifications (ticket_id);
CREATE INDEX notifications_held ON notifications (recipient, release_at) WHERE state = 'held';
CREATE INDEX notifications_digest ON notifications (digest_id) WHERE digest_id IS NOT NULL;

-- How many notifications an address was sent in its current window. The row is also the lock under which its
-- notifications are held and released.
CREATE TABLE recipients (
    id             BLOB PRIMARY KEY NOT NULL,
    address        TEXT NOT NULL UNIQUE,
    counted        INTEGER NOT NULL,
    window_ends_at TEXT NOT NULL CHECK (window_ends_at LIKE '%+00:00')
) STRICT;

-- Keys that all processes share, each made once by whoever needs it first.
CREATE TABLE signing_keys (
    name       TEXT PRIMARY KEY,
    key        TEXT NOT NULL,
    created_at TEXT NOT NULL CHECK (created_at LIKE '%+00:00')
) STRICT;
