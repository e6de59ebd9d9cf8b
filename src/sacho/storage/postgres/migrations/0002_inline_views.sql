-- Inline views: those that are written within each append, by whoever appends.

-- Counts changes of what is registered. An append looks here whether it knows the last one, which costs a twentieth of
-- what a look into a table does. One that was rolled back is counted too, so the table has the last word.
CREATE SEQUENCE @schema@.inline_changes AS bigint CACHE 1;

-- The names of the views, in order, one a line (see sacho/storage/inline_views.py), and the change that entered them.
-- Every append compares that with the one its process knows, so that none leaves a view out.
ALTER TABLE @schema@.log ADD COLUMN inline text NOT NULL DEFAULT '', ADD COLUMN inline_change bigint NOT NULL DEFAULT 0;

-- Enter the views that the log registers. Whoever calls it holds the lock that all appends share, `all_key`, for itself,
-- and so the sequence is moved, for all to see, while nobody appends.
CREATE FUNCTION @schema@.register_inline(all_key bigint, names text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(@key_locks@, (all_key >> 1)::integer);
    UPDATE @schema@.log SET inline = names, inline_change = nextval('@schema@.inline_changes');
END $$;

-- Only the functions below may insert. One of the schema before that began under it, and so compares nothing, says 'yes':
-- it may go on while there are no views. A query within the first condition would cost each insert as much as its check.
CREATE OR REPLACE FUNCTION @schema@.refuse_other_inserts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('sacho.appending', true) IS DISTINCT FROM 'checked' THEN
        IF current_setting('sacho.appending', true) IS DISTINCT FROM 'yes'
            OR EXISTS (SELECT FROM @schema@.log l WHERE l.inline <> '')
        THEN
            RAISE EXCEPTION 'events are immutable, and appended by Sacho only, which keeps their order'
                USING HINT = 'append a compensating event instead', ERRCODE = 'restrict_violation';
        END IF;
    END IF;
    RETURN NULL;
END $$;

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
-- it holds up others. `known_change`: the log.inline_change that the caller knows; where it is another, one row says 4, and
-- nothing is written. Of parts that were accepted it is told when they were recorded, and where a part of several events stands.
CREATE FUNCTION @schema@.append(
    locks bigint[],
    write_parts integer[], write_tags integer[], write_follows boolean[], write_after bigint[], write_queries text[],
    part_streams text[], part_expected bigint[], part_events integer[],
    ids uuid[], types text[], schema_versions integer[], data text[], tags text[], metadata text[],
    correlation_ids text[], tag_events integer[], tag_names text[],
    careful boolean, accepted boolean, again boolean, relaxed boolean, lock_wait integer, idle integer,
    known_change bigint
) RETURNS TABLE (outcome integer, version bigint, "position" bigint, recorded_at bigint, positions bigint[])
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    waits_before text;
    scans_before text;
    key bigint;
    done boolean;  -- assigned where only the effect is wanted: PERFORM costs several times as much
    now_at bigint;
    last_change bigint;
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
    -- behind the locks, which whoever changes it takes alone
    last_change := coalesce(pg_sequence_last_value('@schema@.inline_changes'), 0);
    IF last_change IS DISTINCT FROM known_change THEN
        SELECT l.inline_change INTO last_change FROM @schema@.log l;
    END IF;
    IF last_change IS DISTINCT FROM known_change THEN
        IF idle IS NOT NULL THEN
            PERFORM set_config('lock_timeout', waits_before, true);
            PERFORM set_config('enable_seqscan', scans_before, true);
        END IF;
        outcome := 4;
        RETURN NEXT;
        RETURN;
    END IF;
    done := pg_advisory_xact_lock_shared(@order_locks@,
        @schema@.low_bits(coalesce(pg_sequence_last_value('@schema@.positions'), 0))) IS NULL;
    now_at := @schema@.microseconds();
    done := set_config('sacho.appending', 'checked', true) IS NULL;
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
            IF known_change > 0 THEN
                recorded_at := now_at;
                done := set_config('sacho.appending', 'no', true) IS NULL;
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
                IF known_change > 0 THEN
                    recorded_at := now_at;
                    positions := places[part_event - done_events + 1 : part_event - done_events + part_events[part]];
                END IF;
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
    IF known_change > 0 OR idle IS NOT NULL THEN
        PERFORM set_config('sacho.appending', 'no', true);
    END IF;
    IF idle IS NOT NULL THEN
        PERFORM set_config('lock_timeout', waits_before, true);
        PERFORM set_config('enable_seqscan', scans_before, true);
        PERFORM pg_notify('@channel@', position::text);
    END IF;
END $$;

-- Appending as processes of the schema before do, which know nothing of inline views: where there are some, refuse.
CREATE OR REPLACE FUNCTION @schema@.append(
    locks bigint[],
    write_parts integer[], write_tags integer[], write_follows boolean[], write_after bigint[], write_queries text[],
    part_streams text[], part_expected bigint[], part_events integer[],
    ids uuid[], types text[], schema_versions integer[], data text[], tags text[], metadata text[],
    correlation_ids text[], tag_events integer[], tag_names text[],
    careful boolean, accepted boolean, again boolean, relaxed boolean, lock_wait integer, idle integer
) RETURNS TABLE (outcome integer, version bigint, "position" bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    FOR outcome, version, position IN
        SELECT a.outcome, a.version, a.position FROM @schema@.append(locks, write_parts, write_tags, write_follows,
            write_after, write_queries, part_streams, part_expected, part_events, ids, types, schema_versions, data, tags,
            metadata, correlation_ids, tag_events, tag_names, careful, accepted, again, relaxed, lock_wait, idle,
            coalesce((SELECT l.inline_change FROM @schema@.log l WHERE l.inline = ''), -1)) a
    LOOP
        IF outcome = 4 THEN
            RAISE EXCEPTION 'this log keeps inline views, which this process does not write: upgrade sacho'
                USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;

-- Importing as before, but for a log without inline views only, since nobody would write them.
ALTER FUNCTION @schema@.import_events(
    bigint, bigint[], text[], bigint[], uuid[], text[], integer[], text[], text[], text[], text[], bigint[], integer[],
    text[]
) RENAME TO import_rows;
CREATE FUNCTION @schema@.import_events(
    all_key bigint, positions bigint[], streams text[], versions bigint[],
    ids uuid[], types text[], schema_versions integer[], data text[], tags text[], metadata text[],
    correlation_ids text[], recorded_at bigint[], tag_events integer[], tag_names text[]
) RETURNS TABLE (problem integer, number integer, actual bigint)
LANGUAGE plpgsql VOLATILE @settings@ AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(@key_locks@, (all_key >> 1)::integer);
    IF EXISTS (SELECT FROM @schema@.log l WHERE l.inline <> '') THEN
        RAISE EXCEPTION 'this log keeps inline views, which an import does not write'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN QUERY SELECT r.* FROM @schema@.import_rows(all_key, positions, streams, versions, ids, types,
        schema_versions, data, tags, metadata, correlation_ids, recorded_at, tag_events, tag_names) r;
END $$;

-- As in the first of these files: nobody but the owner, and the role that may append if it was made already.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA @schema@ FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = '@schema@_writer') THEN
        GRANT EXECUTE ON FUNCTION @schema@.register_inline(bigint, text), @schema@.append(
            bigint[], integer[], integer[], boolean[], bigint[], text[], text[], bigint[], integer[], uuid[], text[],
            integer[], text[], text[], text[], text[], integer[], text[], boolean, boolean, boolean, boolean, integer,
            integer, bigint
        ) TO @schema@_writer;
    END IF;
END $$;
