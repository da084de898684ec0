-- Several servers on one database: what each of them has to know of the others.

-- Whose records changed, numbered in the order in which changes become visible. Every server reads it from where it was,
-- and forgets what it had in memory. Without a client and a resource it means all of them.
CREATE TABLE registry_change (
    number      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id   TEXT COLLATE "C",
    resource_id TEXT COLLATE "C",
    at          BIGINT NOT NULL
);
CREATE INDEX registry_change_by_time ON registry_change (at);

-- Who does a job in the background, until when (milliseconds since the epoch, by the clock of the database), and how
-- often the job has changed hands.
CREATE TABLE lease (
    name    TEXT PRIMARY KEY,
    holder  TEXT NOT NULL,
    until   BIGINT NOT NULL,
    fencing BIGINT NOT NULL
);
