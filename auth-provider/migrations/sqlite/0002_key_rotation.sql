-- A key's life follows from these times (src/keys/life.rs); before, the one key of the database signed for ever.

ALTER TABLE resource ADD COLUMN signing_alg TEXT NOT NULL DEFAULT 'ES256';

CREATE TABLE rotating_key (
    kid            TEXT PRIMARY KEY,
    alg            TEXT NOT NULL,
    number         INTEGER NOT NULL,
    sealed_private BLOB NOT NULL,
    created_at     INTEGER NOT NULL,
    signs_from     INTEGER NOT NULL,
    announce_time  INTEGER NOT NULL,
    retire_time    INTEGER NOT NULL,
    compromised_at INTEGER,
    -- Two servers at once cannot both make the next key.
    UNIQUE (alg, number)
) STRICT, WITHOUT ROWID;

-- Its key set could be kept for five minutes, its tokens lived for a day at most.
INSERT INTO rotating_key (kid, alg, number, sealed_private, created_at, signs_from, announce_time, retire_time)
SELECT kid, alg, 1, sealed_private, created_at, created_at, 600, 87000 FROM signing_key;

DROP TABLE signing_key;

ALTER TABLE rotating_key RENAME TO signing_key;
