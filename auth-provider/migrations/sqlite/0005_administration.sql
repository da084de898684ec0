-- What administrators change carries a version: a random text that is new with each change, never used twice.

ALTER TABLE client ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}';
ALTER TABLE client ADD COLUMN version TEXT NOT NULL DEFAULT '';
ALTER TABLE client ADD COLUMN updated_at INTEGER NOT NULL DEFAULT 0;
UPDATE client SET version = lower(hex(randomblob(16))), updated_at = created_at;
CREATE INDEX client_by_status ON client (status, id);
CREATE INDEX client_by_name ON client (name, id);

ALTER TABLE resource ADD COLUMN version TEXT NOT NULL DEFAULT '';
UPDATE resource SET version = lower(hex(randomblob(16)));
CREATE INDEX resource_by_owner ON resource (owner) WHERE owner IS NOT NULL;

ALTER TABLE client_grant ADD COLUMN version TEXT NOT NULL DEFAULT '';
UPDATE client_grant SET version = lower(hex(randomblob(16)));
CREATE INDEX client_grant_by_resource ON client_grant (resource_id, client_id);

-- A label need not be unique any more: the credential that replaces another takes its label over.
CREATE TABLE labelled_credential (
    id          TEXT PRIMARY KEY,
    client_id   TEXT NOT NULL REFERENCES client (id) ON DELETE CASCADE,
    label       TEXT NOT NULL,
    secret_hash BLOB NOT NULL,
    last_four   TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER,
    replaces    TEXT
) STRICT, WITHOUT ROWID;
INSERT INTO labelled_credential (id, client_id, label, secret_hash, last_four, created_at, expires_at)
SELECT id, client_id, label, secret_hash, '', created_at, expires_at FROM credential;
DROP TABLE credential;
ALTER TABLE labelled_credential RENAME TO credential;
CREATE INDEX credential_by_client ON credential (client_id);
CREATE INDEX credential_by_end ON credential (expires_at) WHERE expires_at IS NOT NULL;
-- One rotation of a credential at a time.
CREATE UNIQUE INDEX credential_by_replaced ON credential (replaces) WHERE replaces IS NOT NULL;

-- What the audit log says of uses, summed up to the event `used_up_to`.
CREATE TABLE client_use (
    client_id    TEXT PRIMARY KEY,
    last_used_at INTEGER NOT NULL,
    longest_gap  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE credential_use (
    credential_id TEXT PRIMARY KEY,
    last_used_at  INTEGER NOT NULL,
    use_count     INTEGER NOT NULL,
    alive_until   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The graph has one version for all of it: who checked a change against the graph notices that it moved on.
CREATE TABLE registry_state (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    graph_version INTEGER NOT NULL,
    used_up_to    INTEGER NOT NULL
) STRICT;
INSERT INTO registry_state (one, graph_version, used_up_to) VALUES (1, 1, 0);

CREATE TABLE audit_event (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    at            INTEGER NOT NULL,
    action        TEXT NOT NULL,
    outcome       TEXT NOT NULL CHECK (outcome IN ('success', 'refused')),
    actor         TEXT,
    client_id     TEXT,
    resource_id   TEXT,
    credential_id TEXT,
    jti           TEXT,
    ends_at       INTEGER,
    reason        TEXT,
    explanation   TEXT,
    request_id    TEXT,
    address       TEXT
) STRICT;
CREATE INDEX audit_event_by_time ON audit_event (at);
CREATE INDEX audit_event_by_client ON audit_event (client_id, number) WHERE client_id IS NOT NULL;
CREATE INDEX audit_event_by_resource ON audit_event (resource_id, number) WHERE resource_id IS NOT NULL;
CREATE INDEX audit_event_by_action ON audit_event (action, number);
CREATE INDEX audit_event_by_request ON audit_event (request_id) WHERE request_id IS NOT NULL;
CREATE TRIGGER audit_event_is_append_only BEFORE UPDATE ON audit_event
BEGIN
    SELECT RAISE(ABORT, 'audit events are never changed');
END;

-- What a creation answered, for a caller who asks again because the answer was lost. The answer may hold a secret and is
-- sealed under the master key.
CREATE TABLE remembered_answer (
    key_hash      BLOB PRIMARY KEY,
    request_hash  BLOB NOT NULL,
    sealed_answer BLOB NOT NULL,
    expires_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX remembered_answer_by_end ON remembered_answer (expires_at);

-- A client that registered itself may read, change and remove itself with this token (RFC 7592); only its SHA-256 is
-- kept.
CREATE TABLE client_registration (
    client_id  TEXT PRIMARY KEY REFERENCES client (id) ON DELETE CASCADE,
    token_hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;
