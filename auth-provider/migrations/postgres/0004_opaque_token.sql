ALTER TABLE resource ADD COLUMN token_format TEXT NOT NULL DEFAULT 'jwt' CHECK (token_format IN ('jwt', 'opaque'));

-- What an opaque token stands for. The token itself is not kept, only its SHA-256.
CREATE TABLE opaque_token (
    hash        BYTEA PRIMARY KEY,
    client_id   TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    scopes      TEXT NOT NULL,
    jti         TEXT NOT NULL,
    issued_at   BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL
);

CREATE INDEX opaque_token_by_end ON opaque_token (expires_at);
