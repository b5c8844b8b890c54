-- Accounts: refreshing sign-ins, keys, identities of other issuers, what was changed about whom; and the book of contacts.

ALTER TABLE users
    ADD COLUMN version BIGINT NOT NULL DEFAULT 1,
    -- Tokens made before are no longer good.
    ADD COLUMN password_changed_at TIMESTAMPTZ;

-- What was changed about an account, field by field. No value of a password or a key is ever here.
CREATE TABLE account_events (
    id        UUID PRIMARY KEY,
    user_id   UUID NOT NULL REFERENCES users (id),
    field     TEXT NOT NULL,
    old_value TEXT,
    new_value TEXT,
    -- NULL: an operator at the command line, or another issuer.
    actor_id  UUID,
    ip        TEXT,
    at        TIMESTAMPTZ NOT NULL
);
CREATE INDEX account_events_user ON account_events (user_id, id);
CREATE TRIGGER account_events_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON account_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Failed sign-ins by the SHA-256 of the address, whether there is such an account or not.
CREATE TABLE sign_in_failures (
    address_hash   TEXT PRIMARY KEY,
    failures       BIGINT NOT NULL,
    window_ends_at TIMESTAMPTZ NOT NULL
);

-- Each token is used once, for the next of its family; one that is used again ends the family.
CREATE TABLE refresh_tokens (
    id         UUID PRIMARY KEY,
    family_id  UUID NOT NULL,
    user_id    UUID NOT NULL REFERENCES users (id),
    -- SHA-256 of the token.
    token_hash TEXT NOT NULL UNIQUE,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    used_at    TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ
);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family_id);
CREATE INDEX refresh_tokens_user ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_expires ON refresh_tokens (expires_at);

CREATE TABLE api_keys (
    id           UUID PRIMARY KEY,
    user_id      UUID NOT NULL REFERENCES users (id),
    name         TEXT NOT NULL,
    scopes       JSONB NOT NULL,
    -- SHA-256 of the secret: of 256 random bits nothing can be guessed, so nothing slower is needed.
    secret_hash  TEXT NOT NULL,
    version      BIGINT NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    expires_at   TIMESTAMPTZ,
    last_used_at TIMESTAMPTZ,
    revoked_at   TIMESTAMPTZ
);
CREATE INDEX api_keys_user ON api_keys (user_id, id);

-- Who somebody is to another issuer of tokens.
CREATE TABLE identities (
    issuer     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    user_id    UUID NOT NULL REFERENCES users (id),
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (issuer, subject),
    UNIQUE (user_id, issuer)
);

CREATE TABLE contacts (
    id           UUID PRIMARY KEY,
    name         TEXT NOT NULL,
    email        TEXT NOT NULL UNIQUE CHECK (email = lower(email)),
    phone        TEXT,
    organization TEXT,
    notes        TEXT,
    version      BIGINT NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    updated_at   TIMESTAMPTZ NOT NULL
);
CREATE INDEX tickets_contact ON tickets (lower(contact_email)) WHERE contact_email IS NOT NULL;
