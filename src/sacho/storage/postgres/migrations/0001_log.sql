-- The log in a schema of its own. @schema@ is the schema's name; @order_locks@ and @key_locks@ are two random numbers of
-- this log: the first halves of its advisory locks, which keep them apart from all others. @channel@ tells of appends.

-- Which log this is and which life of it; and which of these files have been run. One row.
CREATE TABLE @schema@.log (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    id uuid NOT NULL,
    epoch bigint NOT NULL,
    schema_version integer NOT NULL,
    order_locks integer NOT NULL,
    key_locks integer NOT NULL,
    channel text NOT NULL
);
INSERT INTO @schema@.log VALUES (true, gen_random_uuid(), 1, 0, @order_locks@, @key_locks@, '@channel@');

-- CACHE 1: a session that kept values back would write below positions that readers have passed.
CREATE SEQUENCE @schema@.positions AS bigint CACHE 1;

-- Every event that ever happened, in order of position. `data`, `metadata` and `tags` are JSON, `recorded_at` is in
-- microseconds since 1970 UTC. To be read as the view `events`. `append_from` stands in the last event of an append of
-- several and names the position of the first, so that no reader is shown a part of them.
CREATE TABLE @schema@.event_rows (
    position bigint PRIMARY KEY,
    stream text COLLATE "C",
    version bigint,
    type text COLLATE "C" NOT NULL,
    schema_version integer NOT NULL,
    data text NOT NULL,
    id uuid NOT NULL,
    tags text,
    metadata text,
    correlation_id text COLLATE "C",
    recorded_at bigint NOT NULL,
    append_from bigint
);

CREATE UNIQUE INDEX event_ids ON @schema@.event_rows (id);
CREATE UNIQUE INDEX event_streams ON @schema@.event_rows (stream, version) WHERE stream IS NOT NULL;
CREATE INDEX event_types ON @schema@.event_rows (type, position);
CREATE INDEX event_categories ON @schema@.event_rows (split_part(stream, '-', 1), position) WHERE stream IS NOT NULL;
CREATE INDEX event_correlations ON @schema@.event_rows (correlation_id, position) WHERE correlation_id IS NOT NULL;
-- The last events of appends of several: few, for the head to look through.
CREATE INDEX event_appends ON @schema@.event_rows (position) INCLUDE (append_from) WHERE append_from IS NOT NULL;

CREATE TABLE @schema@.event_tags (
    tag text COLLATE "C",
    position bigint,
    PRIMARY KEY (tag, position)
);

-- Folded states, one for each stream at most. They may be dropped at any time.
CREATE TABLE @schema@.snapshots (
    stream text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    fingerprint text NOT NULL,
    state bytea NOT NULL
);

-- Return a text as JSON for people. PostgreSQL's operators on JSON fail at a NUL character, so one is shown as U+FFFD.
CREATE FUNCTION @schema@.readable(value text) RETURNS json LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN strpos(value, '\u0000') > 0
        THEN regexp_replace(value, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g') ELSE value END::json
$$;

-- What people and their tools read.
CREATE VIEW @schema@.events AS
SELECT position, stream, version, type, schema_version, @schema@.readable(data) AS data, id, tags::json AS tags,
       @schema@.readable(metadata) AS metadata,
       timestamptz 'epoch' + recorded_at * interval '1 microsecond' AS recorded_at
FROM @schema@.event_rows;

-- The log is append-only, whoever writes: only the functions below, which keep its order, may insert.
CREATE FUNCTION @schema@.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are immutable, and appended by Sacho only, which keeps their order'
        USING HINT = 'append a compensating event instead', ERRCODE = 'restrict_violation';
END $$;

-- A condition in the trigger itself would be parsed anew at each insert.
CREATE FUNCTION @schema@.refuse_other_inserts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('sacho.appending', true) IS DISTINCT FROM 'yes' THEN
        RAISE EXCEPTION 'events are immutable, and appended by Sacho only, which keeps their order'
            USING HINT = 'append a compensating event instead', ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER event_rows_are_appended_by_sacho BEFORE INSERT ON @schema@.event_rows
FOR EACH STATEMENT EXECUTE FUNCTION @schema@.refuse_other_inserts();
CREATE TRIGGER event_rows_are_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON @schema@.event_rows
FOR EACH STATEMENT EXECUTE FUNCTION @schema@.refuse_change();
CREATE TRIGGER event_tags_are_appended_by_sacho BEFORE INSERT ON @schema@.event_tags
FOR EACH STATEMENT EXECUTE FUNCTION @schema@.refuse_other_inserts();
CREATE TRIGGER event_tags_are_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON @schema@.event_tags
FOR EACH STATEMENT EXECUTE FUNCTION @schema@.refuse_change();
CREATE TRIGGER events_are_a_view INSTEAD OF INSERT OR UPDATE OR DELETE ON @schema@.events
FOR EACH ROW EXECUTE FUNCTION @schema@.refuse_change();

-- Refuse a transaction that would not see what others have committed while it waited for its locks.
CREATE FUNCTION @schema@.check_isolation() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'an event log is used in READ COMMITTED transactions, this one is %',
            upper(current_setting('transaction_isolation')) USING ERRCODE = 'invalid_transaction_state';
    END IF;
END $$;

-- The second half of the lock that registers an append in flight: the low 32 bits of a position, as an integer.
CREATE FUNCTION @schema@.low_bits(value bigint) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT (((value + 2147483648) & 4294967295) - 2147483648)::integer
$$;

-- Return the head: the highest position below which nothing can appear any more. The order of the three steps is what it
-- rests on: an append registers the sequence's last value before it takes positions, so one that may still write at or
-- below `last` is seen as registered, or is seen by the third step, whose snapshot is younger. The head is the position of
-- an event, since a value that was taken and rolled back may be given out again after a crash. No append of several events
-- is cut in two.
CREATE FUNCTION @schema@.head() RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER @settings@ AS $$
DECLARE
    last bigint;
    bound bigint;
    head bigint;
    first_cut bigint;
BEGIN
    PERFORM @schema@.check_isolation();
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'a standby does not know what is in flight on the primary' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    last := coalesce(pg_sequence_last_value('@schema@.positions'), 0);
    -- the distance from `last` back to each registered value, by their low 32 bits; one registered since lies ahead
    SELECT last - max(distance) INTO bound
    FROM (
        SELECT ((last - objid::bigint + 2147483648) & 4294967295) - 2147483648 AS distance
        FROM pg_locks
        WHERE locktype = 'advisory' AND classid = @order_locks@ AND objsubid = 2
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) AS in_flight;
    bound := least(last, bound);
    LOOP
        SELECT max(position) INTO head FROM @schema@.event_rows WHERE position <= bound;
        head := coalesce(head, 0);
        SELECT min(append_from) INTO first_cut FROM @schema@.event_rows
        WHERE position > head AND append_from <= head;
        IF first_cut IS NULL THEN
            RETURN head;
        END IF;
        bound := first_cut - 1;
    END LOOP;
END $$;

-- Finding what a query means. A list is the positions of one tag, or of any of some types or categories. Comparing rows,
-- `(type, position) > (…)`, leaves the planner just one index that gives the order asked for, so that a name that is
-- frequent, rare or absent is found at the same cost, whatever the statistics say.

-- Return positions of a list with `after` < position <= `upto`: of each name the first `most`, or the last ones.
CREATE FUNCTION @schema@.list_positions(
    kind text, names text[], after bigint, upto bigint, most integer, backwards boolean
) RETURNS SETOF bigint LANGUAGE plpgsql STABLE @settings@ AS $$
BEGIN
    CASE kind
    WHEN 'tag' THEN
        IF backwards THEN
            RETURN QUERY SELECT l.position FROM unnest(names) n CROSS JOIN LATERAL (
                SELECT t.position FROM @schema@.event_tags t
                WHERE (t.tag, t.position) > (n, after) AND (t.tag, t.position) <= (n, upto)
                ORDER BY t.tag DESC, t.position DESC LIMIT most) l;
        ELSE
            RETURN QUERY SELECT l.position FROM unnest(names) n CROSS JOIN LATERAL (
                SELECT t.position FROM @schema@.event_tags t
                WHERE (t.tag, t.position) > (n, after) AND (t.tag, t.position) <= (n, upto)
                ORDER BY t.tag, t.position LIMIT most) l;
        END IF;
    WHEN 'type' THEN
        IF backwards THEN
            RETURN QUERY SELECT l.position FROM unnest(names) n CROSS JOIN LATERAL (
                SELECT e.position FROM @schema@.event_rows e
                WHERE (e.type, e.position) > (n, after) AND (e.type, e.position) <= (n, upto)
                ORDER BY e.type DESC, e.position DESC LIMIT most) l;
        ELSE
            RETURN QUERY SELECT l.position FROM unnest(names) n CROSS JOIN LATERAL (
                SELECT e.position FROM @schema@.event_rows e
                WHERE (e.type, e.position) > (n, after) AND (e.type, e.position) <= (n, upto)
                ORDER BY e.type, e.position LIMIT most) l;
        END IF;
    WHEN 'category' THEN
        IF backwards THEN
            RETURN QUERY SELECT l.position FROM unnest(names) n CROSS JOIN LATERAL (
                SELECT e.position FROM @schema@.event_rows e
                WHERE (split_part(e.stream, '-', 1), e.position) > (n, after)
                    AND (split_part(e.stream, '-', 1), e.position) <= (n, upto) AND e.stream IS NOT NULL
                ORDER BY split_part(e.stream, '-', 1) DESC, e.position DESC LIMIT most) l;
        ELSE
            RETURN QUERY SELECT l.position FROM unnest(names) n CROSS JOIN LATERAL (
                SELECT e.position FROM @schema@.event_rows e
                WHERE (split_part(e.stream, '-', 1), e.position) > (n, after)
                    AND (split_part(e.stream, '-', 1), e.position) <= (n, upto) AND e.stream IS NOT NULL
                ORDER BY split_part(e.stream, '-', 1), e.position LIMIT most) l;
        END IF;
    END CASE;
END $$;

-- Return the positions that all lists of an item have in common, the first `most` or the last ones. Each round takes the
-- next few of every list, keeps what they share up to where the shortest look ends, and leaps to the furthest of their
-- first ones, so the shortest list bounds the work (after the leapfrog join: Veldhuizen, 2014). It looks at more at a
-- time where much is shared. Backwards it counts in negative positions.
CREATE FUNCTION @schema@.item_positions(
    types text[], tags text[], categories text[], after bigint, upto bigint, most integer, backwards boolean
) RETURNS SETOF bigint LANGUAGE plpgsql STABLE @settings@ AS $$
DECLARE
    tag_lists integer := coalesce(cardinality(tags), 0);
    lists integer := tag_lists + coalesce(cardinality(types) > 0, false)::integer
        + coalesce(cardinality(categories) > 0, false)::integer;
    kinds text[] := array_fill('tag'::text, ARRAY[tag_lists])
        || CASE WHEN cardinality(types) > 0 THEN ARRAY['type'] END
        || CASE WHEN cardinality(categories) > 0 THEN ARRAY['category'] END;
    names text[];
    sign bigint := CASE WHEN backwards THEN -1 ELSE 1 END;
    stands_at bigint := CASE WHEN backwards THEN -upto ELSE after + 1 END;
    ends_at bigint := CASE WHEN backwards THEN -(after + 1) ELSE upto END;
    sees_to bigint;
    leaps_to bigint;
    few integer := greatest(4, least(most, 256));
    chunk bigint[];
    shared bigint[];
    found integer := 0;
BEGIN
    IF lists = 0 AND backwards THEN
        RETURN QUERY SELECT r.position FROM @schema@.event_rows r
            WHERE r.position > after AND r.position <= upto ORDER BY r.position DESC LIMIT most;
    ELSIF lists = 0 THEN
        RETURN QUERY SELECT r.position FROM @schema@.event_rows r
            WHERE r.position > after AND r.position <= upto ORDER BY r.position LIMIT most;
    ELSIF lists = 1 THEN
        names := CASE kinds[1] WHEN 'tag' THEN tags WHEN 'type' THEN types ELSE categories END;
        RETURN QUERY SELECT @schema@.list_positions(kinds[1], names, after, upto, most, backwards);
    END IF;
    WHILE lists > 1 AND found < most LOOP
        sees_to := ends_at;
        leaps_to := stands_at;
        FOR list IN 1 .. lists LOOP
            names := CASE kinds[list] WHEN 'tag' THEN ARRAY[tags[list]] WHEN 'type' THEN types ELSE categories END;
            chunk := ARRAY(
                SELECT sign * p
                FROM @schema@.list_positions(kinds[list], names, CASE WHEN backwards THEN after ELSE stands_at - 1 END,
                    CASE WHEN backwards THEN -stands_at ELSE upto END, few, backwards) p
                ORDER BY 1 LIMIT few);
            IF cardinality(chunk) = 0 THEN
                RETURN;
            END IF;
            leaps_to := greatest(leaps_to, chunk[1]);
            IF cardinality(chunk) = few THEN
                sees_to := least(sees_to, chunk[few]);
            END IF;
            shared := CASE WHEN list = 1 THEN chunk ELSE ARRAY(SELECT unnest(shared) INTERSECT SELECT unnest(chunk)) END;
        END LOOP;
        RETURN QUERY SELECT sign * p FROM unnest(shared) p WHERE p <= sees_to;
        found := found + (SELECT count(*) FROM unnest(shared) p WHERE p <= sees_to);
        few := CASE WHEN shared = '{}' THEN greatest(few / 4, 4) ELSE least(few * 4, 512) END;
        EXIT WHEN sees_to = ends_at;
        stands_at := greatest(sees_to + 1, leaps_to);
    END LOOP;
END $$;

-- Return the positions of the events that a query means, in order, the first `most` or the last ones. The query is a list
-- of items, `[{"types": […], "tags": […], "categories": […]}, …]`, of which any may be met; an absent part does not constrain.
CREATE FUNCTION @schema@.matches(query text, after bigint, upto bigint, most integer, backwards boolean)
RETURNS SETOF bigint LANGUAGE plpgsql STABLE @settings@ AS $$
BEGIN
    RETURN QUERY
    SELECT found.p
    FROM (
        SELECT DISTINCT p
        FROM json_to_recordset(query::json) AS item(types text[], tags text[], categories text[]),
            LATERAL @schema@.item_positions(item.types, item.tags, item.categories, after, upto, most, backwards) p
    ) AS found
    ORDER BY CASE WHEN backwards THEN -found.p ELSE found.p END
    LIMIT most;
END $$;

-- Say that positions above `below` may come from this transaction, until it ends. Called before the first is taken.
CREATE FUNCTION @schema@.register_append(below bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(@order_locks@, @schema@.low_bits(below));
END $$;

-- Return the microseconds since 1970 UTC; a double has them all until the year 2255.
CREATE FUNCTION @schema@.microseconds() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (date_part('epoch', clock_timestamp()) * 1000000)::bigint
$$;

-- Appending. Write n has write_parts[n] of the parts and write_tags[n] of the tags, a part has part_events of the events,
-- all in order; tag_events says to which of all the events, counted from 1, a tag belongs.
--
-- `locks` are the advisory locks to take, in order: twice the hash of a name, plus one where it is exclusive (see
-- locking.py). Every append shares those of what it writes, a condition takes those of its query alone, a stream is
-- taken alone; all before a position is taken, so that who waits here holds up nobody's reading.
--
-- One row comes back for each part of a write that was accepted: 0, version, position; and one for a write that was not:
-- 1, actual version, number of the part in the write: another version was expected; 2, none, position of an event that
-- breaks the condition; 3: ids of it are in the log. An expected version of -1 means any but 0, none means any.
--
-- `careful`: look for ids first. Without, a repeated id violates the unique index, and the caller comes again with care.
-- `accepted`: whether the write before the first one was accepted. `again`: the caller does not know whether it was here
-- before; then a write that is found counts as accepted for the one that follows it. `lock_wait`: the longest wait for a
-- lock, in milliseconds, unless the user's transaction has one of its own; none where the session was prepared for the log
-- (see session.py and connecting.py), which is cheaper. `idle`: given where the transaction is the user's, in
-- milliseconds: for how long it may be idle, and (from PostgreSQL 17 on) six times that for how long it may last, since
-- it holds up others.
CREATE FUNCTION @schema@.append(
    locks bigint[],
    write_parts integer[], write_tags integer[], write_follows boolean[], write_after bigint[], write_queries text[],
    part_streams text[], part_expected bigint[], part_events integer[],
    ids uuid[], types text[], schema_versions integer[], data text[], tags text[], metadata text[],
    correlation_ids text[], tag_events integer[], tag_names text[],
    careful boolean, accepted boolean, again boolean, relaxed boolean, lock_wait integer, idle integer
) RETURNS TABLE (outcome integer, version bigint, "position" bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    waits_before text;
    scans_before text;
    key bigint;
    done boolean;  -- assigned where only the effect is wanted: PERFORM costs several times as much
    now_at bigint;
    done_parts integer := 0;
    done_tags integer := 0;
    done_events integer;
    last_part integer;
    last_event integer := 0;
    part_event integer;
    expected bigint;
    actual bigint;
    versions bigint[] := '{}';
    places bigint[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM @schema@.check_isolation();
    END IF;
    IF NOT relaxed AND current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    IF idle IS NOT NULL THEN
        PERFORM @schema@.bound_transaction(idle);
    END IF;
    IF lock_wait IS NOT NULL THEN
        waits_before := current_setting('lock_timeout');
        scans_before := current_setting('enable_seqscan');
        PERFORM set_config('enable_seqscan', 'off', true);
        PERFORM set_config('lock_timeout', CASE WHEN idle IS NULL OR waits_before = '0' THEN lock_wait::text
            ELSE waits_before END, true);
    END IF;
    FOREACH key IN ARRAY locks LOOP
        IF key & 1 = 1 THEN
            done := pg_advisory_xact_lock(@key_locks@, (key >> 1)::integer) IS NULL;
        ELSE
            done := pg_advisory_xact_lock_shared(@key_locks@, (key >> 1)::integer) IS NULL;
        END IF;
    END LOOP;
    done := pg_advisory_xact_lock_shared(@order_locks@,
        @schema@.low_bits(coalesce(pg_sequence_last_value('@schema@.positions'), 0))) IS NULL;
    now_at := @schema@.microseconds();
    done := set_config('sacho.appending', 'yes', true) IS NULL;
    IF cardinality(ids) = 1 AND part_streams[1] IS NOT NULL AND write_queries[1] IS NULL
        AND NOT (careful OR write_follows[1])
    THEN
        -- one event for one stream, as most appends are: the same as below, in a third of the steps
        SELECT r.version INTO actual FROM @schema@.event_rows r
        WHERE r.stream = part_streams[1] ORDER BY r.version DESC LIMIT 1;
        actual := coalesce(actual, 0);
        expected := part_expected[1];
        IF expected IS NULL OR expected = actual OR (expected = -1 AND actual > 0) THEN
            outcome := 0;
            version := actual + 1;
            position := nextval('@schema@.positions');
            INSERT INTO @schema@.event_rows VALUES (position, part_streams[1], version, types[1], schema_versions[1],
                data[1], ids[1], tags[1], metadata[1], correlation_ids[1], now_at, NULL);
            IF write_tags[1] > 0 THEN
                INSERT INTO @schema@.event_tags SELECT n, position FROM unnest(tag_names) n;
            END IF;
            RETURN NEXT;
            RETURN;
        END IF;
    END IF;
    FOR write IN 1 .. cardinality(write_parts) LOOP
        last_part := done_parts + write_parts[write];
        done_events := last_event;
        outcome := NULL;
        FOR part IN done_parts + 1 .. last_part LOOP
            last_event := last_event + part_events[part];
        END LOOP;
        IF careful AND (again OR accepted OR NOT write_follows[write]) AND EXISTS (
            SELECT FROM @schema@.event_rows r WHERE r.id = ANY (ids[done_events + 1 : last_event])
        ) THEN
            outcome := 3;
        ELSIF write_queries[write] IS NOT NULL THEN
            SELECT 2, NULL, m INTO outcome, version, position
            FROM @schema@.matches(write_queries[write], write_after[write], 9223372036854775807, 1, false) m;
        END IF;
        IF outcome IS NULL THEN
            FOR part IN done_parts + 1 .. last_part LOOP
                actual := NULL;
                IF part_streams[part] IS NOT NULL THEN
                    FOR earlier IN REVERSE part - 1 .. done_parts + 1 LOOP
                        IF part_streams[earlier] = part_streams[part] THEN
                            actual := versions[earlier] + part_events[earlier];
                            EXIT;
                        END IF;
                    END LOOP;
                    IF actual IS NULL THEN
                        SELECT r.version INTO actual FROM @schema@.event_rows r
                        WHERE r.stream = part_streams[part] ORDER BY r.version DESC LIMIT 1;
                        actual := coalesce(actual, 0);
                    END IF;
                    expected := part_expected[part];
                    IF (expected <> actual AND (expected >= 0 OR actual = 0))
                        OR (write_follows[write] AND NOT accepted)
                    THEN
                        outcome := 1;
                        version := actual;
                        position := part - done_parts;
                        EXIT;
                    END IF;
                END IF;
                versions[part] := actual;
            END LOOP;
        END IF;
        IF outcome IN (1, 2) AND NOT careful AND (accepted OR NOT write_follows[write]) AND EXISTS (
            SELECT FROM @schema@.event_rows r WHERE r.id = ANY (ids[done_events + 1 : last_event])
        ) THEN
            outcome := 3;
        END IF;
        accepted := outcome IS NULL OR (outcome = 3 AND again);
        IF outcome = 3 THEN
            -- a repeat is as durable as a new one: with this message the commit waits for the disk and for standbys, and
            -- so for the first commit too, which may have been cut off while it waited for them
            PERFORM pg_logical_emit_message(true, 'sacho', '');
        END IF;
        IF outcome IS NOT NULL THEN
            RETURN NEXT;
        ELSE
            places := CASE WHEN last_event = done_events + 1 THEN ARRAY[nextval('@schema@.positions')]
                ELSE ARRAY(SELECT nextval('@schema@.positions') FROM generate_series(done_events + 1, last_event)) END;
            part_event := done_events;
            outcome := 0;
            FOR part IN done_parts + 1 .. last_part LOOP
                INSERT INTO @schema@.event_rows
                SELECT places[part_event - done_events + n], part_streams[part], versions[part] + n,
                    types[part_event + n], schema_versions[part_event + n], data[part_event + n], ids[part_event + n],
                    tags[part_event + n], metadata[part_event + n], correlation_ids[part_event + n], now_at,
                    CASE WHEN part_event + n = last_event AND last_event > done_events + 1 THEN places[1] END
                FROM generate_series(1, part_events[part]) n;
                part_event := part_event + part_events[part];
                version := versions[part] + part_events[part];
                position := places[part_event - done_events];
                RETURN NEXT;
            END LOOP;
            IF write_tags[write] > 0 THEN
                INSERT INTO @schema@.event_tags
                SELECT tag_names[n], places[tag_events[n] - done_events]
                FROM generate_series(done_tags + 1, done_tags + write_tags[write]) n;
            END IF;
        END IF;
        done_parts := last_part;
        done_tags := done_tags + write_tags[write];
    END LOOP;
    IF idle IS NOT NULL THEN
        PERFORM set_config('sacho.appending', 'no', true);
        PERFORM set_config('lock_timeout', waits_before, true);
        PERFORM set_config('enable_seqscan', scans_before, true);
        PERFORM pg_notify('@channel@', position::text);
    END IF;
END $$;

-- Bound for how long a transaction of the user may be idle (and last), if it is not bounded closer already.
CREATE FUNCTION @schema@.bound_transaction(idle integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    bound record;
BEGIN
    FOR bound IN
        SELECT s.name, limits.most FROM pg_settings s
        JOIN (VALUES ('idle_in_transaction_session_timeout', idle), ('transaction_timeout', 6 * idle))
            AS limits (name, most) USING (name)
        WHERE s.setting::integer = 0 OR s.setting::integer > limits.most
    LOOP
        PERFORM set_config(bound.name, bound.most::text, true);
    END LOOP;
END $$;

-- Import events that keep their places; `all_key` is the lock that all appends share. They must lie above all events of
-- the log, ascending, and no two of their ids may be equal. Returns nothing if they were written; else what is wrong:
-- 1, number of the event, the position that it is not above; 2, number, the version that it does not follow on; 3,
-- number, none: its id is in the log.
CREATE FUNCTION @schema@.import_events(
    all_key bigint, positions bigint[], streams text[], versions bigint[],
    ids uuid[], types text[], schema_versions integer[], data text[], tags text[], metadata text[],
    correlation_ids text[], recorded_at bigint[], tag_events integer[], tag_names text[]
) RETURNS TABLE (problem integer, number integer, actual bigint)
LANGUAGE plpgsql VOLATILE @settings@ AS $$
#variable_conflict use_column
DECLARE
    last_position bigint;
BEGIN
    PERFORM @schema@.check_isolation();
    PERFORM pg_advisory_xact_lock(@key_locks@, (all_key >> 1)::integer);
    SELECT coalesce(max(r.position), 0) INTO last_position FROM @schema@.event_rows r;
    IF positions[1] <= last_position THEN
        RETURN QUERY SELECT 1, 1, last_position;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT 2, found.n::integer, found.before
    FROM (
        SELECT given.n, given.version, coalesce(lag(given.version) OVER (PARTITION BY given.stream ORDER BY given.n),
            (SELECT r.version FROM @schema@.event_rows r WHERE r.stream = given.stream ORDER BY r.version DESC LIMIT 1),
            0) AS before
        FROM unnest(streams, versions) WITH ORDINALITY AS given (stream, version, n)
        WHERE given.stream IS NOT NULL
    ) AS found
    WHERE found.version IS DISTINCT FROM found.before + 1
    ORDER BY found.n LIMIT 1;
    IF FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT 3, given.n::integer, NULL::bigint
    FROM unnest(ids) WITH ORDINALITY AS given (id, n)
    WHERE EXISTS (SELECT FROM @schema@.event_rows r WHERE r.id = given.id);
    IF FOUND THEN
        RETURN;
    END IF;
    PERFORM @schema@.register_append(positions[1] - 1);
    PERFORM setval('@schema@.positions', greatest(pg_sequence_last_value('@schema@.positions'),
        positions[cardinality(positions)]));
    PERFORM set_config('sacho.appending', 'yes', true);
    INSERT INTO @schema@.event_rows
    SELECT positions[n], streams[n], versions[n], types[n], schema_versions[n], data[n], ids[n], tags[n], metadata[n],
        correlation_ids[n], recorded_at[n], NULL
    FROM generate_series(1, cardinality(positions)) n;
    INSERT INTO @schema@.event_tags
    SELECT tag_names[n], positions[tag_events[n]] FROM generate_series(1, cardinality(tag_names)) n;
    PERFORM set_config('sacho.appending', 'no', true);
END $$;

-- Nobody but the owner may do anything until `sacho migrate --roles` says otherwise.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA @schema@ FROM PUBLIC;
