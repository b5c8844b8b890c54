-- What everybody may see and find: deletion, search, an unalterable history, and the log of events.

ALTER TABLE tickets ADD COLUMN deleted_at TEXT CHECK (deleted_at LIKE '%+00:00');
CREATE INDEX tickets_reporter ON tickets (reporter_id, created_at, id);

-- The words of a text, as they are searched for.
CREATE VIRTUAL TABLE tickets_words USING fts5(
    title, description, content = 'tickets', content_rowid = 'number', tokenize = 'unicode61 remove_diacritics 0'
);
INSERT INTO tickets_words (tickets_words) VALUES ('rebuild');
CREATE TRIGGER tickets_words_insert AFTER INSERT ON tickets BEGIN
    INSERT INTO tickets_words (rowid, title, description) VALUES (new.number, new.title, new.description);
END;
CREATE TRIGGER tickets_words_update AFTER UPDATE OF title, description ON tickets
WHEN old.title <> new.title OR old.description <> new.description BEGIN
    INSERT INTO tickets_words (tickets_words, rowid, title, description)
    VALUES ('delete', old.number, old.title, old.description);
    INSERT INTO tickets_words (rowid, title, description) VALUES (new.number, new.title, new.description);
END;

-- What only staff may read.
ALTER TABLE ticket_history ADD COLUMN internal INTEGER NOT NULL DEFAULT 0;
CREATE TRIGGER ticket_history_no_update BEFORE UPDATE ON ticket_history BEGIN
    SELECT RAISE(ABORT, 'ticket_history is immutable');
END;
CREATE TRIGGER ticket_history_no_delete BEFORE DELETE ON ticket_history BEGIN
    SELECT RAISE(ABORT, 'ticket_history is immutable');
END;

-- SQLite cannot change a check, so the table is made anew.
CREATE TABLE escalations_new (
    id                BLOB PRIMARY KEY NOT NULL,
    ticket_id         BLOB NOT NULL REFERENCES tickets (id),
    clock_id          BLOB NOT NULL REFERENCES sla_clocks (id),
    opened_at         TEXT NOT NULL CHECK (opened_at LIKE '%+00:00'),
    steps_done        INTEGER NOT NULL,
    next_step_at      TEXT CHECK (next_step_at LIKE '%+00:00'),
    stopped_at        TEXT CHECK (stopped_at LIKE '%+00:00'),
    stop_reason       TEXT CHECK (stop_reason IN ('acknowledged', 'paused', 'resolved', 'exhausted', 'deleted')),
    -- NULL: the built-in policy.
    policy_version_id BLOB REFERENCES definition_versions (id),
    CHECK ((next_step_at IS NULL) <> (stopped_at IS NULL))
) STRICT;
INSERT INTO escalations_new SELECT id, ticket_id, clock_id, opened_at, steps_done, next_step_at, stopped_at, stop_reason,
    policy_version_id FROM escalations;
DROP TABLE escalations;
ALTER TABLE escalations_new RENAME TO escalations;
CREATE UNIQUE INDEX escalations_open ON escalations (ticket_id) WHERE stopped_at IS NULL;
CREATE INDEX escalations_due ON escalations (next_step_at) WHERE next_step_at IS NOT NULL;

-- What happened, in the order in which it was committed: a transaction takes its numbers from event_head as its last act,
-- so whoever has read up to a number has missed nothing before it.
CREATE TABLE events (
    seq       INTEGER PRIMARY KEY,
    kind      TEXT NOT NULL,
    ticket_id BLOB NOT NULL REFERENCES tickets (id),
    -- Whether only staff may know.
    internal  INTEGER NOT NULL,
    actor_id  BLOB,
    data      TEXT NOT NULL,
    at        TEXT NOT NULL CHECK (at LIKE '%+00:00')
) STRICT;
CREATE INDEX events_at ON events (at);
CREATE TABLE event_head (
    id  INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO event_head (id, seq) VALUES (1, 0);
