-- Collaboration: comments and attachments.

CREATE TABLE comments (
    -- What the index of words refers to: the rows' own numbers may change when the database is vacuumed.
    place      INTEGER PRIMARY KEY,
    id         BLOB NOT NULL UNIQUE,
    ticket_id  BLOB NOT NULL REFERENCES tickets (id),
    -- NULL: the rules did what it tells.
    author_id  BLOB REFERENCES users (id),
    content    TEXT NOT NULL CHECK (content <> ''),
    -- Whether only staff may read it.
    internal   INTEGER NOT NULL,
    -- Whether it tells of a change rather than says something.
    system     INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    created_at TEXT NOT NULL CHECK (created_at LIKE '%+00:00'),
    edited_at  TEXT CHECK (edited_at LIKE '%+00:00'),
    deleted_at TEXT CHECK (deleted_at LIKE '%+00:00')
) STRICT;
CREATE INDEX comments_ticket ON comments (ticket_id, id) WHERE deleted_at IS NULL;

CREATE VIRTUAL TABLE comments_words USING fts5(
    content, content = 'comments', content_rowid = 'place', tokenize = 'unicode61 remove_diacritics 0'
);
CREATE TRIGGER comments_words_insert AFTER INSERT ON comments WHEN NOT new.system BEGIN
    INSERT INTO comments_words (rowid, content) VALUES (new.place, new.content);
END;
CREATE TRIGGER comments_words_update AFTER UPDATE OF content ON comments
WHEN NOT new.system AND old.content <> new.content BEGIN
    INSERT INTO comments_words (comments_words, rowid, content) VALUES ('delete', old.place, old.content);
    INSERT INTO comments_words (rowid, content) VALUES (new.place, new.content);
END;

-- What comments said before they were edited.
CREATE TABLE comment_edits (
    comment_id  BLOB NOT NULL REFERENCES comments (id),
    version     INTEGER NOT NULL,
    content     TEXT NOT NULL,
    replaced_at TEXT NOT NULL CHECK (replaced_at LIKE '%+00:00'),
    PRIMARY KEY (comment_id, version)
) STRICT;

-- The contents that are kept. A row is written before its file gets its place, and is deleted with the file.
CREATE TABLE blobs (
    sha256     TEXT PRIMARY KEY NOT NULL CHECK (length(sha256) = 64),
    size       INTEGER NOT NULL,
    -- When somebody last brought it.
    touched_at TEXT NOT NULL CHECK (touched_at LIKE '%+00:00')
) STRICT;
CREATE INDEX blobs_touched ON blobs (touched_at);

CREATE TABLE attachments (
    id          BLOB PRIMARY KEY NOT NULL,
    ticket_id   BLOB NOT NULL REFERENCES tickets (id),
    uploader_id BLOB REFERENCES users (id),
    name        TEXT NOT NULL CHECK (name <> '' AND length(CAST(name AS BLOB)) <= 255),
    media_type  TEXT NOT NULL,
    size        INTEGER NOT NULL,
    sha256      TEXT NOT NULL CHECK (length(sha256) = 64),
    -- Whether only staff may read it.
    internal    INTEGER NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('unscanned', 'pending', 'clean', 'quarantined')),
    -- What the scanner calls it.
    finding     TEXT,
    created_at  TEXT NOT NULL CHECK (created_at LIKE '%+00:00'),
    scanned_at  TEXT CHECK (scanned_at LIKE '%+00:00'),
    deleted_at  TEXT CHECK (deleted_at LIKE '%+00:00')
) STRICT;
CREATE UNIQUE INDEX attachments_once ON attachments (ticket_id, sha256, internal) WHERE deleted_at IS NULL;
CREATE INDEX attachments_ticket ON attachments (ticket_id, id) WHERE deleted_at IS NULL;
CREATE INDEX attachments_content ON attachments (sha256) WHERE deleted_at IS NULL;
