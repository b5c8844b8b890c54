-- The yardstick: the rows that opening one ticket writes (ticket, history, two clocks, their events, one job), in
-- one statement. `create_setup.sql` has made the user and `uuid7`.
WITH ids AS MATERIALIZED (
    SELECT now() AS at, '00000000-0000-7000-8000-000000000001'::uuid AS actor, uuid7() AS ticket
), ticket AS (
    INSERT INTO tickets (id, title, description, status, priority, category, environment, affected_service,
        reporter_id, version, created_at, updated_at)
    SELECT ticket, 'Checkout answers 502 from the payment gateway',
        'Since the last deployment about one in five payments fails with a gateway time-out.',
        'new', 'high', 'incident', 'production', 'checkout', actor, 1, at, at
    FROM ids
    RETURNING id, number
), history AS (
    INSERT INTO ticket_history (id, ticket_id, version, field, new_value, actor_id, ip, at)
    SELECT uuid7(), ticket, 1, 'status', 'new', actor, '127.0.0.1', at
    FROM ids
), clocks AS (
    INSERT INTO sla_clocks (id, ticket_id, metric, warn_at, started_at, state, target_us, warned, credit_us, runs,
        running_since, held_manually, held_by_status, cancelled, revision, due_at, seq, last_at, next_fire_at)
    SELECT uuid7(), ticket, metric, '[500000, 750000, 900000]', at, 'active', hours * 3600000000, 0, 0, '[]',
        at, false, false, false, 0, at + hours * interval '1 hour', 1, at, at + hours * interval '30 minutes'
    FROM ids, (VALUES ('first_response', 4), ('resolution', 12)) AS promised (metric, hours)
    RETURNING id, started_at, target_us
), events AS (
    INSERT INTO sla_events (clock_id, seq, at, event, actor_id)
    SELECT id, 1, started_at,
        jsonb_build_object('kind', 'started', 'target_us', target_us, 'warn_at', '[500000, 750000, 900000]'::jsonb), actor
    FROM clocks, ids
), job AS (
    INSERT INTO jobs (id, kind, priority, payload, state, run_at, relay_at, attempt, max_attempts, crashes, lease_seq,
        created_at)
    SELECT uuid7(), 'notify', 'normal',
        jsonb_build_object('cause', jsonb_build_object('event', 'ticket.created', 'ticket', ticket)), 'ready',
        at, at + interval '2 seconds', 0, 20, 0, 0, at
    FROM ids
)
SELECT id, number FROM ticket;
