-- The log: its identity, the events, their index by name, and disposable snapshots.

-- Which log this is and which life of it; and up to which position events have their marks. One row.
CREATE TABLE log (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    marked_to INTEGER NOT NULL DEFAULT 0
);

-- Every event that ever happened, in order of position. `recorded_at` is in microseconds since 1970 UTC.
CREATE TABLE events (
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
    recorded_at INTEGER NOT NULL,
    category TEXT GENERATED ALWAYS AS (substr(stream, 1, instr(stream || '-', '-') - 1)) VIRTUAL
);

CREATE UNIQUE INDEX events_by_id ON events (id);
CREATE UNIQUE INDEX events_by_stream ON events (stream, version) WHERE stream IS NOT NULL;
CREATE INDEX events_by_correlation ON events (correlation_id) WHERE correlation_id IS NOT NULL;

-- The index by name: for `type:NAME`, `category:NAME` and `tag:KEY:VALUE` the positions of their events, as JSON lists
-- in order, each with its last position and its length. It tells of the events up to log.marked_to; the few behind that
-- are looked through one by one.
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

-- The log is append-only, whoever writes to the file. The third trigger also stops INSERT OR REPLACE, which deletes
-- without asking the second.
CREATE TRIGGER events_are_never_updated BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are immutable: append a compensating event instead'); END;

CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are immutable: append a compensating event instead'); END;

CREATE TRIGGER events_are_only_appended BEFORE INSERT ON events
WHEN NEW.position <= (SELECT max(position) FROM events)
    OR EXISTS (SELECT 1 FROM events WHERE id = NEW.id)
    OR EXISTS (SELECT 1 FROM events WHERE stream = NEW.stream AND version = NEW.version)
BEGIN SELECT RAISE(ABORT, 'events are only ever appended: above all positions, with a new id and a new version'); END;

CREATE TRIGGER marks_are_never_updated BEFORE UPDATE ON marks
BEGIN SELECT RAISE(ABORT, 'the marks of an event are immutable'); END;

CREATE TRIGGER marks_are_never_deleted BEFORE DELETE ON marks
BEGIN SELECT RAISE(ABORT, 'the marks of an event are immutable'); END;
