-- What administrators change carries a version: a random text that is new with each change, never used twice.

ALTER TABLE client ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}';
ALTER TABLE client ADD COLUMN version TEXT NOT NULL DEFAULT '';
ALTER TABLE client ADD COLUMN updated_at BIGINT NOT NULL DEFAULT 0;
UPDATE client SET version = replace(gen_random_uuid()::text, '-', ''), updated_at = created_at;
CREATE INDEX client_by_status ON client (status, id);
CREATE INDEX client_by_name ON client (name, id);

ALTER TABLE resource ADD COLUMN version TEXT NOT NULL DEFAULT '';
UPDATE resource SET version = replace(gen_random_uuid()::text, '-', '');
CREATE INDEX resource_by_owner ON resource (owner) WHERE owner IS NOT NULL;

ALTER TABLE client_grant ADD COLUMN version TEXT NOT NULL DEFAULT '';
UPDATE client_grant SET version = replace(gen_random_uuid()::text, '-', '');
CREATE INDEX client_grant_by_resource ON client_grant (resource_id, client_id);

-- Ids are compared byte by byte, as in SQLite: pages follow each other in the same order everywhere. Columns that are
-- joined agree on it, else no index would serve.
ALTER TABLE client ALTER COLUMN id TYPE TEXT COLLATE "C";
ALTER TABLE credential ALTER COLUMN id TYPE TEXT COLLATE "C", ALTER COLUMN client_id TYPE TEXT COLLATE "C";
ALTER TABLE resource ALTER COLUMN id TYPE TEXT COLLATE "C", ALTER COLUMN owner TYPE TEXT COLLATE "C";
ALTER TABLE resource_scope ALTER COLUMN resource_id TYPE TEXT COLLATE "C";
ALTER TABLE client_grant ALTER COLUMN client_id TYPE TEXT COLLATE "C", ALTER COLUMN resource_id TYPE TEXT COLLATE "C";

-- A label need not be unique any more: the credential that replaces another takes its label over.
ALTER TABLE credential DROP CONSTRAINT credential_client_id_label_key;
ALTER TABLE credential ADD COLUMN last_four TEXT NOT NULL DEFAULT '';
ALTER TABLE credential ADD COLUMN replaces TEXT COLLATE "C";
CREATE INDEX credential_by_client ON credential (client_id);
CREATE INDEX credential_by_end ON credential (expires_at) WHERE expires_at IS NOT NULL;
-- One rotation of a credential at a time.
CREATE UNIQUE INDEX credential_by_replaced ON credential (replaces) WHERE replaces IS NOT NULL;

-- What the audit log says of uses, summed up to the event `used_up_to`.
CREATE TABLE client_use (
    client_id    TEXT COLLATE "C" PRIMARY KEY,
    last_used_at BIGINT NOT NULL,
    longest_gap  BIGINT NOT NULL
);
CREATE TABLE credential_use (
    credential_id TEXT COLLATE "C" PRIMARY KEY,
    last_used_at  BIGINT NOT NULL,
    use_count     BIGINT NOT NULL,
    alive_until   BIGINT NOT NULL
);

-- The graph has one version for all of it: who checked a change against the graph notices that it moved on.
CREATE TABLE registry_state (
    one           BIGINT PRIMARY KEY CHECK (one = 1),
    graph_version BIGINT NOT NULL,
    used_up_to    BIGINT NOT NULL
);
INSERT INTO registry_state (one, graph_version, used_up_to) VALUES (1, 1, 0);

CREATE TABLE audit_event (
    number        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at            BIGINT NOT NULL,
    action        TEXT NOT NULL,
    outcome       TEXT NOT NULL CHECK (outcome IN ('success', 'refused')),
    actor         TEXT,
    client_id     TEXT COLLATE "C",
    resource_id   TEXT COLLATE "C",
    credential_id TEXT COLLATE "C",
    jti           TEXT,
    ends_at       BIGINT,
    reason        TEXT,
    explanation   TEXT,
    request_id    TEXT,
    address       TEXT
);
CREATE INDEX audit_event_by_time ON audit_event (at);
CREATE INDEX audit_event_by_client ON audit_event (client_id, number) WHERE client_id IS NOT NULL;
CREATE INDEX audit_event_by_resource ON audit_event (resource_id, number) WHERE resource_id IS NOT NULL;
CREATE INDEX audit_event_by_action ON audit_event (action, number);
CREATE INDEX audit_event_by_request ON audit_event (request_id) WHERE request_id IS NOT NULL;
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit events are never changed';
END
$$;
CREATE TRIGGER audit_event_is_append_only BEFORE UPDATE ON audit_event
FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- What a creation answered, for a caller who asks again because the answer was lost. The answer may hold a secret and is
-- sealed under the master key.
CREATE TABLE remembered_answer (
    key_hash      BYTEA PRIMARY KEY,
    request_hash  BYTEA NOT NULL,
    sealed_answer BYTEA NOT NULL,
    expires_at    BIGINT NOT NULL
);
CREATE INDEX remembered_answer_by_end ON remembered_answer (expires_at);

-- A client that registered itself may read, change and remove itself with this token (RFC 7592); only its SHA-256 is
-- kept.
CREATE TABLE client_registration (
    client_id  TEXT COLLATE "C" PRIMARY KEY REFERENCES client (id) ON DELETE CASCADE,
    token_hash BYTEA NOT NULL
);
