-- The log: its identity, the events, the index over them, and disposable snapshots.

-- Which log this is and which life of it; and up to which position the index tells of the events. One row.
CREATE TABLE log (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    indexed_to INTEGER NOT NULL DEFAULT 0
);

-- Every event that ever happened, in order of position. `recorded_at` is in microseconds since 1970 UTC. To be read as
-- the view `events`; see the triggers.
CREATE TABLE event_rows (
    position INTEGER PRIMARY KEY,
    stream TEXT,
    version INTEGER,
    type TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    data TEXT NOT NULL,
    id BLOB NOT NULL,
    tags TEXT,
    metadata TEXT,
    correlation_id TEXT,
    recorded_at INTEGER NOT NULL
);

-- The index: written for many events at a time, in the transaction that moves log.indexed_to. The few events behind
-- that are looked through one by one.

CREATE TABLE event_ids (
    id BLOB PRIMARY KEY,
    position INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE event_correlations (
    correlation_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (correlation_id, position)
) WITHOUT ROWID;

-- Lists of positions, in order, are JSON lists of the first position and the steps from each to the next.

-- For each stream the positions of its events; each list with its last event's version and position.
CREATE TABLE event_streams (
    stream TEXT NOT NULL,
    version INTEGER NOT NULL,
    last INTEGER NOT NULL,
    positions TEXT NOT NULL,
    PRIMARY KEY (stream, version)
) WITHOUT ROWID;

-- For `type:NAME`, `category:NAME` and `tag:KEY:VALUE` the positions of their events; each list with its last position
-- and its length.
CREATE TABLE marks (
    mark TEXT NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    positions TEXT NOT NULL,
    PRIMARY KEY (mark, last)
) WITHOUT ROWID;

-- Folded states, one for each stream at most. They may be dropped at any time.
CREATE TABLE snapshots (
    stream TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    state BLOB NOT NULL
) WITHOUT ROWID;

-- What people and their tools see of the events. It is a view so that none of them writes by mistake: INSERT OR REPLACE
-- deletes the old row of a table without asking its triggers, and a trigger on inserts would cost each event of a large
-- append as much as half its insertion.
CREATE VIEW events AS SELECT * FROM event_rows;

CREATE TRIGGER events_are_appended_by_sacho INSTEAD OF INSERT ON events
BEGIN SELECT RAISE(ABORT, 'events are appended by Sacho, which keeps their order and index'); END;

CREATE TRIGGER events_are_never_updated INSTEAD OF UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are immutable: append a compensating event instead'); END;

CREATE TRIGGER events_are_never_deleted INSTEAD OF DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are immutable: append a compensating event instead'); END;

-- The log is append-only, whoever writes to the file.
CREATE TRIGGER event_rows_are_never_updated BEFORE UPDATE ON event_rows
BEGIN SELECT RAISE(ABORT, 'events are immutable: append a compensating event instead'); END;

CREATE TRIGGER event_rows_are_never_deleted BEFORE DELETE ON event_rows
BEGIN SELECT RAISE(ABORT, 'events are immutable: append a compensating event instead'); END;

CREATE TRIGGER event_ids_are_never_updated BEFORE UPDATE ON event_ids
BEGIN SELECT RAISE(ABORT, 'the index of events is immutable'); END;

CREATE TRIGGER event_ids_are_never_deleted BEFORE DELETE ON event_ids
BEGIN SELECT RAISE(ABORT, 'the index of events is immutable'); END;

CREATE TRIGGER event_streams_are_never_updated BEFORE UPDATE ON event_streams
BEGIN SELECT RAISE(ABORT, 'the index of events is immutable'); END;

CREATE TRIGGER event_streams_are_never_deleted BEFORE DELETE ON event_streams
BEGIN SELECT RAISE(ABORT, 'the index of events is immutable'); END;

CREATE TRIGGER event_correlations_are_never_updated BEFORE UPDATE ON event_correlations
BEGIN SELECT RAISE(ABORT, 'the index of events is immutable'); END;

CREATE TRIGGER event_correlations_are_never_deleted BEFORE DELETE ON event_correlations
BEGIN SELECT RAISE(ABORT, 'the index of events is immutable'); END;

CREATE TRIGGER marks_are_never_updated BEFORE UPDATE ON marks
BEGIN SELECT RAISE(ABORT, 'the index of events is immutable'); END;

CREATE TRIGGER marks_are_never_deleted BEFORE DELETE ON marks
BEGIN SELECT RAISE(ABORT, 'the index of events is immutable'); END;
