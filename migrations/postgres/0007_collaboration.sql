-- Collaboration: comments and attachments.

CREATE TABLE comments (
    id         UUID PRIMARY KEY,
    ticket_id  UUID NOT NULL REFERENCES tickets (id),
    -- NULL: the rules did what it tells.
    author_id  UUID REFERENCES users (id),
    content    TEXT NOT NULL CHECK (content <> ''),
    -- Whether only staff may read it.
    internal   BOOLEAN NOT NULL,
    -- Whether it tells of a change rather than says something.
    system     BOOLEAN NOT NULL,
    version    BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    edited_at  TIMESTAMPTZ,
    deleted_at TIMESTAMPTZ
);
CREATE INDEX comments_ticket ON comments (ticket_id, id) WHERE deleted_at IS NULL;
CREATE INDEX comments_words ON comments USING gin (words_of(content)) WHERE deleted_at IS NULL AND NOT system;

-- What comments said before they were edited.
CREATE TABLE comment_edits (
    comment_id  UUID NOT NULL REFERENCES comments (id),
    version     BIGINT NOT NULL,
    content     TEXT NOT NULL,
    replaced_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (comment_id, version)
);

-- The contents that are kept. A row is written before its file gets its place, and is the lock under which the file is deleted.
CREATE TABLE blobs (
    sha256     TEXT PRIMARY KEY CHECK (length(sha256) = 64),
    size       BIGINT NOT NULL,
    -- When somebody last brought it.
    touched_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX blobs_touched ON blobs (touched_at);

CREATE TABLE attachments (
    id          UUID PRIMARY KEY,
    ticket_id   UUID NOT NULL REFERENCES tickets (id),
    uploader_id UUID REFERENCES users (id),
    name        TEXT NOT NULL CHECK (name <> '' AND octet_length(name) <= 255),
    media_type  TEXT NOT NULL,
    size        BIGINT NOT NULL,
    sha256      TEXT NOT NULL CHECK (length(sha256) = 64),
    -- Whether only staff may read it.
    internal    BOOLEAN NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('unscanned', 'pending', 'clean', 'quarantined')),
    -- What the scanner calls it.
    finding     TEXT,
    created_at  TIMESTAMPTZ NOT NULL,
    scanned_at  TIMESTAMPTZ,
    deleted_at  TIMESTAMPTZ
);
CREATE UNIQUE INDEX attachments_once ON attachments (ticket_id, sha256, internal) WHERE deleted_at IS NULL;
CREATE INDEX attachments_ticket ON attachments (ticket_id, id) WHERE deleted_at IS NULL;
CREATE INDEX attachments_content ON attachments (sha256) WHERE deleted_at IS NULL;
