-- What other systems ask of the same core: tokens that look like theirs, bearers that start a service, clients that the
-- administrator of a project manages.

-- A credential of kind 'bootstrap' is good for one purpose, and always ends.
ALTER TABLE credential ADD COLUMN kind TEXT NOT NULL DEFAULT 'secret'
    CHECK (kind IN ('secret', 'bootstrap') AND (kind = 'secret' OR expires_at IS NOT NULL));
-- A secret names its credential where nothing else does, so that no two may have the same.
CREATE UNIQUE INDEX credential_by_secret ON credential (secret_hash);

ALTER TABLE resource ADD COLUMN token_profile TEXT NOT NULL DEFAULT 'standard'
    CHECK (token_profile IN ('standard', 'supertokens', 'stytch'));
-- Keys of the clients' metadata, separated by spaces.
ALTER TABLE resource ADD COLUMN metadata_claims TEXT NOT NULL DEFAULT '';

ALTER TABLE client ADD COLUMN managed_by TEXT REFERENCES resource (id) ON DELETE SET NULL;
CREATE INDEX client_by_manager ON client (managed_by, id) WHERE managed_by IS NOT NULL;
