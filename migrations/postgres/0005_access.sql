-- What everybody may see and find: deletion, search, an unalterable history, and the log of events.

ALTER TABLE tickets ADD COLUMN deleted_at TIMESTAMPTZ;
CREATE INDEX tickets_reporter ON tickets (reporter_id, created_at, id);

-- The words of a text, as they are searched for. Only ASCII punctuation parts them, so that the outcome depends on no locale
-- and names of hosts and files are found by their parts.
CREATE FUNCTION words_of(text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN to_tsvector('pg_catalog.simple', regexp_replace($1, '[!-/:-@[-`{-~]+', ' ', 'g'));
CREATE INDEX tickets_words ON tickets USING gin (words_of(title || ' ' || description));

-- What only staff may read.
ALTER TABLE ticket_history ADD COLUMN internal BOOLEAN NOT NULL DEFAULT false;
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is immutable', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER ticket_history_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON ticket_history
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE escalations
    DROP CONSTRAINT escalations_stop_reason_check,
    ADD CHECK (stop_reason IN ('acknowledged', 'paused', 'resolved', 'exhausted', 'deleted'));

-- What happened, in the order in which it was committed: a transaction takes its numbers from event_head as its last act,
-- and holds that row until it is committed, so whoever has read up to a number has missed nothing before it.
CREATE TABLE events (
    seq       BIGINT PRIMARY KEY,
    kind      TEXT NOT NULL,
    ticket_id UUID NOT NULL REFERENCES tickets (id),
    -- Whether only staff may know.
    internal  BOOLEAN NOT NULL,
    actor_id  UUID,
    data      JSONB NOT NULL,
    at        TIMESTAMPTZ NOT NULL
);
CREATE INDEX events_at ON events (at);
CREATE TABLE event_head (
    id  BIGINT PRIMARY KEY CHECK (id = 1),
    seq BIGINT NOT NULL
) WITH (fillfactor = 10);
INSERT INTO event_head (id, seq) VALUES (1, 0);
