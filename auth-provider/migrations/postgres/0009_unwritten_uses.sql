-- Where the uses of credentials are summed up in memory: of each server that does, up to when all of them are in the
-- tables, and after when it takes none without saying so here. In between, uses may be missing.
CREATE TABLE unwritten_use (
    server      TEXT COLLATE "C" PRIMARY KEY,
    known_until BIGINT NOT NULL,
    taken_until BIGINT NOT NULL
);
