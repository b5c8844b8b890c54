-- Accounts: refreshing sign-ins, keys, identities of other issuers, what was changed about whom; and the book of contacts.

ALTER TABLE users ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
-- Tokens made before are no longer good.
ALTER TABLE users ADD COLUMN password_changed_at TEXT CHECK (password_changed_at LIKE '%+00:00');

-- What was changed about an account, field by field. No value of a password or a key is ever here.
CREATE TABLE account_events (
    id        BLOB PRIMARY KEY NOT NULL,
    user_id   BLOB NOT NULL REFERENCES users (id),
    field     TEXT NOT NULL,
    old_value TEXT,
    new_value TEXT,
    -- NULL: an operator at the command line, or another issuer.
    actor_id  BLOB,
    ip        TEXT,
    at        TEXT NOT NULL CHECK (at LIKE '%+00:00')
) STRICT;
CREATE INDEX account_events_user ON account_events (user_id, id);
CREATE TRIGGER account_events_no_update BEFORE UPDATE ON account_events BEGIN
    SELECT RAISE(ABORT, 'account_events is immutable');
END;
CREATE TRIGGER account_events_no_delete BEFORE DELETE ON account_events BEGIN
    SELECT RAISE(ABORT, 'account_events is immutable');
END;

-- Failed sign-ins by the SHA-256 of the address, whether there is such an account or not.
CREATE TABLE sign_in_failures (
    address_hash   TEXT PRIMARY KEY NOT NULL,
    failures       INTEGER NOT NULL,
    window_ends_at TEXT NOT NULL CHECK (window_ends_at LIKE '%+00:00')
) STRICT;

-- Each token is used once, for the next of its family; one that is used again ends the family.
CREATE TABLE refresh_tokens (
    id         BLOB PRIMARY KEY NOT NULL,
    family_id  BLOB NOT NULL,
    user_id    BLOB NOT NULL REFERENCES users (id),
    -- SHA-256 of the token.
    token_hash TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL CHECK (created_at LIKE '%+00:00'),
    expires_at TEXT NOT NULL CHECK (expires_at LIKE '%+00:00'),
    used_at    TEXT CHECK (used_at LIKE '%+00:00'),
    revoked_at TEXT CHECK (revoked_at LIKE '%+00:00')
) STRICT;
CREATE INDEX refresh_tokens_family ON refresh_tokens (family_id);
CREATE INDEX refresh_tokens_user ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_expires ON refresh_tokens (expires_at);

CREATE TABLE api_keys (
    id           BLOB PRIMARY KEY NOT NULL,
    user_id      BLOB NOT NULL REFERENCES users (id),
    name         TEXT NOT NULL,
    scopes       TEXT NOT NULL,
    -- SHA-256 of the secret: of 256 random bits nothing can be guessed, so nothing slower is needed.
    secret_hash  TEXT NOT NULL,
    version      INTEGER NOT NULL,
    created_at   TEXT NOT NULL CHECK (created_at LIKE '%+00:00'),
    expires_at   TEXT CHECK (expires_at LIKE '%+00:00'),
    last_used_at TEXT CHECK (last_used_at LIKE '%+00:00'),
    revoked_at   TEXT CHECK (revoked_at LIKE '%+00:00')
) STRICT;
CREATE INDEX api_keys_user ON api_keys (user_id, id);

-- Who somebody is to another issuer of tokens.
CREATE TABLE identities (
    issuer     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    user_id    BLOB NOT NULL REFERENCES users (id),
    created_at TEXT NOT NULL CHECK (created_at LIKE '%+00:00'),
    PRIMARY KEY (issuer, subject),
    UNIQUE (user_id, issuer)
) STRICT;

CREATE TABLE contacts (
    id           BLOB PRIMARY KEY NOT NULL,
    name         TEXT NOT NULL,
    email        TEXT NOT NULL UNIQUE CHECK (email = lower(email)),
    phone        TEXT,
    organization TEXT,
    notes        TEXT,
    version      INTEGER NOT NULL,
    created_at   TEXT NOT NULL CHECK (created_at LIKE '%+00:00'),
    updated_at   TEXT NOT NULL CHECK (updated_at LIKE '%+00:00')
) STRICT;
CREATE INDEX tickets_contact ON tickets (lower(contact_email)) WHERE contact_email IS NOT NULL;
