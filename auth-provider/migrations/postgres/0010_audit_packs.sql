-- Events that are written together are one row, a pack: its text has them, an array in JSON with an array for each. They take
-- their numbers from the same sequence as audit_event, and the number of a pack is that of its last event. A pack has 512
-- events at the most.
CREATE TABLE audit_pack (
    number       BIGINT PRIMARY KEY,
    first_number BIGINT NOT NULL,
    first_at     BIGINT NOT NULL,
    last_at      BIGINT NOT NULL,
    -- A bit for each action.
    actions      BIGINT NOT NULL,
    -- Four bytes for each client, resource and request that is named.
    keys         BYTEA NOT NULL,
    events       TEXT NOT NULL,
    CHECK (first_number <= number)
);
-- Only the text goes elsewhere: whoever searches looks at all keys.
ALTER TABLE audit_pack ALTER COLUMN keys SET STORAGE MAIN;
CREATE INDEX audit_pack_by_time ON audit_pack (last_at);
CREATE TRIGGER audit_pack_is_append_only BEFORE UPDATE ON audit_pack
FOR EACH ROW EXECUTE FUNCTION refuse_change();
