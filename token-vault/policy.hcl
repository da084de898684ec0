# What token-vault needs at a Vault server, for `vault:secret/token-vault` and the Transit key `transit/token-vault`:
#   vault policy write token-vault policy.hcl

# That nothing in the engine ends by itself.
path "secret/config" {
  capabilities = ["read"]
}

# The connections.
path "secret/data/token-vault/connections/*" {
  capabilities = ["create", "read", "update"]
}
path "secret/metadata/token-vault/connections/*" {
  capabilities = ["create", "update", "list", "delete"]
}

# The audit log: events are added, read, and removed when they are old. The server itself refuses to change one.
path "secret/data/token-vault/audit/*" {
  capabilities = ["create", "read"]
}
path "secret/metadata/token-vault/audit/*" {
  capabilities = ["list", "delete"]
}
path "secret/data/token-vault/audit-numbers" {
  capabilities = ["create", "update"]
}

# The ids of signed requests.
path "secret/data/token-vault/requests/*" {
  capabilities = ["create", "read", "update"]
}
path "secret/metadata/token-vault/requests/*" {
  capabilities = ["list", "delete"]
}

# The vault's own signing key, sealed, and the names of key-encryption keys.
path "secret/data/token-vault/own-key" {
  capabilities = ["create", "read", "update"]
}
path "secret/data/token-vault/keks" {
  capabilities = ["create", "read", "update"]
}

# The key-encryption key. Without "create", a key that is missing is not made by accident.
path "transit/keys/token-vault" {
  capabilities = ["read"]
}
path "transit/encrypt/token-vault" {
  capabilities = ["update"]
}
path "transit/decrypt/token-vault" {
  capabilities = ["update"]
}
path "transit/hmac/token-vault/*" {
  capabilities = ["update"]
}
