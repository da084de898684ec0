-- The client that a resource server authenticates as: it may introspect the resource's tokens and follow their
-- revocation.
ALTER TABLE resource ADD COLUMN owner TEXT REFERENCES client (id) ON DELETE SET NULL;

-- What was taken back. A number is never used twice, so that a follower can say up to where it knows.
CREATE TABLE revocation (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    kind        TEXT NOT NULL CHECK (kind IN ('token', 'client', 'credential', 'grant', 'key')),
    jti         TEXT UNIQUE,
    client_id   TEXT,
    credential  TEXT,
    resource_id TEXT,
    kid         TEXT,
    revoked_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX revocation_by_end ON revocation (expires_at);
