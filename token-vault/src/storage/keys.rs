//! The SQL of keys: of the data keys that are rewrapped, and of those that the vault signs with.

pub(super) const REWRAP: &str = "
    UPDATE connection SET kek = $7, data_key = $8
    WHERE application = $1 AND user_id = $2 AND service = $3 AND account = $4
      AND data_key = $5 AND sealed = $6";

pub(super) const KEK_IDS: &str =
    "SELECT DISTINCT kek FROM connection UNION SELECT kek FROM own_key";

pub(super) const OWN_KEY: &str = "SELECT kek, data_key, sealed FROM own_key WHERE one = 1";

pub(super) const ADD_OWN_KEY: &str = "
    INSERT INTO own_key (one, kek, data_key, sealed) VALUES (1, $1, $2, $3)
    ON CONFLICT DO NOTHING";

pub(super) const REPLACE_OWN_KEY: &str = "
    UPDATE own_key SET kek = $1, data_key = $2, sealed = $3 WHERE one = 1 AND data_key = $4";
