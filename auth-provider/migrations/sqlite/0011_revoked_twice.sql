-- A revocation is one row at the end of the table and nothing else. The names of tokens and the ends of their lives lie all
-- over an index, so that each entry of one is a page to write. A token that two servers take back in the same moment has two
-- rows, which say the same.
CREATE TABLE revocation_without_indices (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    kind        TEXT NOT NULL CHECK (kind IN ('token', 'client', 'credential', 'grant', 'key')),
    jti         TEXT,
    client_id   TEXT,
    credential  TEXT,
    resource_id TEXT,
    kid         TEXT,
    revoked_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT;
INSERT INTO revocation_without_indices
    (number, kind, jti, client_id, credential, resource_id, kid, revoked_at, expires_at)
SELECT number, kind, jti, client_id, credential, resource_id, kid, revoked_at, expires_at FROM revocation;

-- The last number that was handed out, which its row may not have lived as long as.
DELETE FROM sqlite_sequence WHERE name = 'revocation_without_indices';
INSERT INTO sqlite_sequence (name, seq)
SELECT 'revocation_without_indices', seq FROM sqlite_sequence WHERE name = 'revocation';

DROP TABLE revocation;
ALTER TABLE revocation_without_indices RENAME TO revocation;
