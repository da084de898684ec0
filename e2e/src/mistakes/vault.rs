//! What `token-vault` says.

use super::Mistake;

pub(super) static MISTAKES: [Mistake; 7] = [
    Mistake {
        id: "vault-without-this-provider",
        title: "A service that the vault does not know",
        made_by: "`curl http://localhost:3013/gitlab?user=alice -H \"Authorization: Bearer $TOKEN\"`.",
        says: "404: there is no provider of this name: name it in the vault's providers file (--providers)",
        cause: "The path names a provider, and the vault's configuration has none of that name. Without a providers file it knows `discord`, `github` and `slack`.",
        next: "Correct the name, or add a `[providers.gitlab]` and start the vault with `--providers`.",
    },
    Mistake {
        id: "vault-without-this-connection",
        title: "A connection that nobody stored",
        made_by: "`GET /github?user=alice` before `POST /github`, or by another client than the one that stored it.",
        says: "404: there is no such connection: store its tokens first",
        cause: "A connection belongs to the client that stored it, a user, a provider and an account. To others it does not exist.",
        next: "Store the tokens, as the same client. `GET /github/status` lists what this client has there.",
    },
    Mistake {
        id: "vault-without-credentials",
        title: "No credentials at the provider",
        made_by: "`GET /github?user=alice`, when the stored token has ended, at a vault without `--providers`.",
        says: "503 temporarily_unavailable: the token has ended, and the vault has no credentials at the provider to renew it with: add them to its providers file (--providers)",
        cause: "To renew a token the vault needs the client id and secret that the provider gave you.",
        next: "Write them into the providers file, as `token-vault/GUIDE.md` shows, and start the vault with it.",
    },
    Mistake {
        id: "vault-without-refresh-token",
        title: "No refresh token was stored",
        made_by: "`GET /github?user=alice`, when the stored token has ended and came without a `refresh_token`.",
        says: "409 needs_reconnect: the user must connect again: the access token has ended, and no refresh token was stored with it",
        cause: "There is nothing to get a new token with.",
        next: "Send the user through the provider's consent again, and store the refresh token with the access token.",
    },
    Mistake {
        id: "vault-with-a-form",
        title: "A form in place of JSON",
        made_by: "`curl http://localhost:3013/github -d user=alice -d access_token=…`.",
        says: "415: send JSON with `Content-Type: application/json`, or a compact JWS with `application/jwt`",
        cause: "curl calls each body of `-d` a form, and the vault takes JSON.",
        next: "Use `curl --json '{\"user\": \"alice\", …}'`.",
    },
    Mistake {
        id: "vault-key-lost",
        title: "The vault's key is gone",
        made_by: "`rm data/token-vault.key`, or only the database was copied to another machine.",
        says: "token-vault: the database has sealed tokens, but their key …token-vault.key is gone: put it back, or set TOKEN_VAULT_KEY",
        cause: "The stored tokens are encrypted, and the key is not in the database.",
        next: "Put the key back from your backup. Without it the users have to connect again.",
    },
    Mistake {
        id: "vault-provider-half-configured",
        title: "A provider with an id and no secret",
        made_by: "`[providers.github]` with `client_id`, and without `client_secret_file` or `client_secret_env`.",
        says: "token-vault: providers.toml: provider `github`: client_id and the secret go together: set both, or none to do without refreshing",
        cause: "Half of the credentials is of no use, and was hardly meant.",
        next: "Add `client_secret_env` or `client_secret_file`; the secret itself does not stand in this file.",
    },
];
