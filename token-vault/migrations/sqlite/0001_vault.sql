-- Times are milliseconds since 1970. What is secret stands in `sealed` only.

CREATE TABLE connection (
    application   TEXT NOT NULL,
    user_id       TEXT NOT NULL,
    service       TEXT NOT NULL,
    account       TEXT NOT NULL,
    version       INTEGER NOT NULL,
    kek           TEXT NOT NULL,
    data_key      BLOB NOT NULL,
    sealed        BLOB NOT NULL,
    expires_at    INTEGER,
    refresh_from  INTEGER,
    broken        TEXT,
    broken_since  INTEGER,
    fence         INTEGER NOT NULL,
    leased_until  INTEGER,
    spending      TEXT,
    doubt         TEXT,
    contested     INTEGER NOT NULL,
    failures      INTEGER NOT NULL,
    retry_from    INTEGER,
    last_failure  TEXT,
    stored_at     INTEGER NOT NULL,
    refreshed_at  INTEGER,
    PRIMARY KEY (application, user_id, service, account)
) STRICT;

CREATE INDEX connection_by_service ON connection (application, service, user_id, account);
CREATE INDEX connection_by_refresh ON connection (service, refresh_from)
    WHERE refresh_from IS NOT NULL AND broken IS NULL;
CREATE INDEX connection_by_attention ON connection (service, broken_since) WHERE broken IS NOT NULL;
CREATE INDEX connection_by_kek ON connection (kek);

-- When a connection's token was last given to somebody, and for whom. Beside the connection, since reads change it: a row here
-- is small, and many of them fit into one page.
CREATE TABLE last_use (
    application TEXT NOT NULL,
    user_id     TEXT NOT NULL,
    service     TEXT NOT NULL,
    account     TEXT NOT NULL,
    at          INTEGER NOT NULL,
    actor       TEXT,
    PRIMARY KEY (application, user_id, service, account)
) STRICT, WITHOUT ROWID;

-- One row: the key that the vault signs its own answers with.
CREATE TABLE own_key (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    kek      TEXT NOT NULL,
    data_key BLOB NOT NULL,
    sealed   BLOB NOT NULL
) STRICT;

-- The ids of signed requests, so that none is taken twice.
CREATE TABLE seen_request (
    id_hash    BLOB PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_request_by_end ON seen_request (expires_at);

CREATE TABLE audit_event (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    at          INTEGER NOT NULL,
    action      TEXT NOT NULL,
    application TEXT NOT NULL,
    user_id     TEXT NOT NULL,
    service     TEXT NOT NULL,
    account     TEXT NOT NULL,
    actor       TEXT,
    reason      TEXT
) STRICT;
CREATE INDEX audit_event_by_application ON audit_event (application, number);
CREATE TRIGGER audit_event_is_append_only BEFORE UPDATE ON audit_event
BEGIN
    SELECT RAISE(ABORT, 'audit events are never changed');
END;
