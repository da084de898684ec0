-- Times are milliseconds since 1970. Names are ordered by their bytes, as in SQLite. What is secret stands in `sealed` only.

CREATE TABLE connection (
    application   TEXT COLLATE "C" NOT NULL,
    user_id       TEXT COLLATE "C" NOT NULL,
    service       TEXT COLLATE "C" NOT NULL,
    account       TEXT COLLATE "C" NOT NULL,
    version       BIGINT NOT NULL,
    kek           TEXT NOT NULL,
    data_key      BYTEA NOT NULL,
    sealed        BYTEA NOT NULL,
    expires_at    BIGINT,
    refresh_from  BIGINT,
    broken        TEXT,
    broken_since  BIGINT,
    fence         BIGINT NOT NULL,
    leased_until  BIGINT,
    spending      TEXT,
    doubt         TEXT,
    contested     BIGINT NOT NULL,
    failures      BIGINT NOT NULL,
    retry_from    BIGINT,
    last_failure  TEXT,
    stored_at     BIGINT NOT NULL,
    refreshed_at  BIGINT,
    PRIMARY KEY (application, user_id, service, account)
);

CREATE INDEX connection_by_service ON connection (application, service, user_id, account);
CREATE INDEX connection_by_refresh ON connection (service, refresh_from)
    WHERE refresh_from IS NOT NULL AND broken IS NULL;
CREATE INDEX connection_by_attention ON connection (service, broken_since) WHERE broken IS NOT NULL;
CREATE INDEX connection_by_kek ON connection (kek);

-- When a connection's token was last given to somebody, and for whom. Beside the connection, since reads change it: a row here
-- is small, and many of them fit into one page. It goes with its connection, whoever notes a use meanwhile.
CREATE TABLE last_use (
    application TEXT COLLATE "C" NOT NULL,
    user_id     TEXT COLLATE "C" NOT NULL,
    service     TEXT COLLATE "C" NOT NULL,
    account     TEXT COLLATE "C" NOT NULL,
    at          BIGINT NOT NULL,
    actor       TEXT,
    PRIMARY KEY (application, user_id, service, account),
    FOREIGN KEY (application, user_id, service, account)
        REFERENCES connection (application, user_id, service, account) ON DELETE CASCADE
);

-- One row: the key that the vault signs its own answers with.
CREATE TABLE own_key (
    one      BIGINT PRIMARY KEY CHECK (one = 1),
    kek      TEXT NOT NULL,
    data_key BYTEA NOT NULL,
    sealed   BYTEA NOT NULL
);

-- The ids of signed requests, so that none is taken twice.
CREATE TABLE seen_request (
    id_hash    BYTEA PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX seen_request_by_end ON seen_request (expires_at);

CREATE TABLE audit_event (
    number      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          BIGINT NOT NULL,
    action      TEXT NOT NULL,
    application TEXT COLLATE "C" NOT NULL,
    user_id     TEXT COLLATE "C" NOT NULL,
    service     TEXT COLLATE "C" NOT NULL,
    account     TEXT COLLATE "C" NOT NULL,
    actor       TEXT,
    reason      TEXT
);
CREATE INDEX audit_event_by_application ON audit_event (application, number);
CREATE FUNCTION audit_event_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit events are never changed';
END $$;
CREATE TRIGGER audit_event_is_append_only BEFORE UPDATE ON audit_event
    FOR EACH ROW EXECUTE FUNCTION audit_event_is_append_only();
