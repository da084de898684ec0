-- Events that are written together are one row, a pack: its text has them, an array in JSON with an array for each. They take
-- their numbers from the same sequence as audit_event, and the number of a pack is that of its last event. The text comes
-- last, so that what is asked about the other columns does not read it. A pack has 512 events at the most.
CREATE TABLE audit_pack (
    number       INTEGER PRIMARY KEY,
    first_number INTEGER NOT NULL,
    first_at     INTEGER NOT NULL,
    last_at      INTEGER NOT NULL,
    -- A bit for each action.
    actions      INTEGER NOT NULL,
    -- Four bytes for each client, resource and request that is named.
    keys         BLOB NOT NULL,
    events       TEXT NOT NULL,
    CHECK (first_number <= number)
) STRICT;
CREATE INDEX audit_pack_by_time ON audit_pack (last_at);
CREATE TRIGGER audit_pack_is_append_only BEFORE UPDATE ON audit_pack
BEGIN
    SELECT RAISE(ABORT, 'audit events are never changed');
END;

-- Numbers are taken from SQLite's own row for audit_event, which is there only after its first event.
INSERT INTO sqlite_sequence (name, seq)
SELECT 'audit_event', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'audit_event');
CREATE TRIGGER audit_pack_takes_numbers AFTER INSERT ON audit_pack
BEGIN
    UPDATE sqlite_sequence SET seq = NEW.number WHERE name = 'audit_event' AND seq < NEW.number;
END;
