-- Times are seconds since the epoch, scope lists are separated by spaces as in RFC 6749 section 3.3.

CREATE TABLE client (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('active', 'inactive')),
    created_at  BIGINT NOT NULL
);

CREATE TABLE credential (
    id          TEXT PRIMARY KEY,
    client_id   TEXT NOT NULL REFERENCES client (id) ON DELETE CASCADE,
    label       TEXT NOT NULL,
    secret_hash BYTEA NOT NULL,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT,
    UNIQUE (client_id, label)
);

CREATE TABLE resource (
    id             TEXT PRIMARY KEY,
    name           TEXT NOT NULL,
    token_lifetime BIGINT NOT NULL
);

CREATE TABLE resource_scope (
    resource_id TEXT NOT NULL REFERENCES resource (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    PRIMARY KEY (resource_id, name)
);

-- One arrow of the graph. (`grant` itself is a word of SQL.)
CREATE TABLE client_grant (
    client_id      TEXT NOT NULL REFERENCES client (id) ON DELETE CASCADE,
    resource_id    TEXT NOT NULL REFERENCES resource (id) ON DELETE CASCADE,
    scopes         TEXT NOT NULL,
    token_lifetime BIGINT,
    expires_at     BIGINT,
    reason         TEXT NOT NULL,
    PRIMARY KEY (client_id, resource_id)
);

CREATE TABLE signing_key (
    kid            TEXT PRIMARY KEY,
    alg            TEXT NOT NULL,
    state          TEXT NOT NULL,
    sealed_private BYTEA NOT NULL,
    created_at     BIGINT NOT NULL
);

-- Two starts at once cannot both make the first key.
CREATE UNIQUE INDEX one_active_key_per_algorithm ON signing_key (alg) WHERE state = 'active';
