-- Least rights, as roles that are granted to those who log in: @schema@_reader may read, @schema@_writer may append and read.
-- May be run again at any time.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '@schema@_reader') THEN
        CREATE ROLE @schema@_reader NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '@schema@_writer') THEN
        CREATE ROLE @schema@_writer NOLOGIN;
    END IF;
END $$;

-- again, since a restore without privileges forgets it
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA @schema@ FROM PUBLIC;
GRANT USAGE ON SCHEMA @schema@ TO @schema@_reader, @schema@_writer;
GRANT SELECT ON ALL TABLES IN SCHEMA @schema@ TO @schema@_reader, @schema@_writer;
GRANT EXECUTE ON FUNCTION
    @schema@.head(),
    @schema@.check_isolation(),
    @schema@.readable(text),
    @schema@.list_positions(text, text[], bigint, bigint, integer, boolean),
    @schema@.item_positions(text[], text[], text[], bigint, bigint, integer, boolean),
    @schema@.matches(text, bigint, bigint, integer, boolean)
TO @schema@_reader, @schema@_writer;
GRANT EXECUTE ON FUNCTION @schema@.append(
    bigint[], integer[], integer[], boolean[], bigint[], text[], text[], bigint[], integer[], uuid[], text[], integer[],
    text[], text[], text[], text[], integer[], text[], boolean, boolean, boolean, boolean, integer, integer
), @schema@.append(
    bigint[], integer[], integer[], boolean[], bigint[], text[], text[], bigint[], integer[], uuid[], text[], integer[],
    text[], text[], text[], text[], integer[], text[], boolean, boolean, boolean, boolean, integer, integer, bigint
) TO @schema@_writer;
-- whoever runs the application has its inline views kept
GRANT EXECUTE ON FUNCTION @schema@.register_inline(bigint, text) TO @schema@_writer;
-- snapshots are no events: whoever decides may keep and drop them
GRANT INSERT, UPDATE, DELETE ON @schema@.snapshots TO @schema@_writer;
