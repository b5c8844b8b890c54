-- What the yardstick needs before it runs: somebody who opens tickets, and ordered identifiers as ours are.
INSERT INTO users (id, email, name, role, password_hash, created_at)
VALUES ('00000000-0000-7000-8000-000000000001', 'yardstick@dogwatch.test', 'Yardstick', 'admin', '-', now());

CREATE FUNCTION uuid7() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(
        set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
            PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
            FROM 1 FOR 6), 52, 1), 53, 1),
        'hex')::uuid
$$;
