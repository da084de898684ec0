//! What the assistant says.

use super::Mistake;

pub(super) static MISTAKES: [Mistake; 18] = [
    Mistake {
        id: "provider-down",
        title: "The provider is not running",
        made_by: "`assistant note list` before `cargo run -p auth-provider`.",
        says: "error: cannot reach auth-provider at http://localhost:3001
  → is auth-provider running on http://localhost:3001? start it with `cargo run -p auth-provider`, or see --issuer",
        cause: "Each command first asks the provider for a token, and nobody answers there.",
        next: "Start the provider, or say with `--issuer` (`ASSISTANT_ISSUER`) where it is.",
    },
    Mistake {
        id: "service-down",
        title: "The service is not running, or has another port",
        made_by: "`assistant note list` with the provider running, and without the note service.",
        says: "error: cannot reach note-service at http://localhost:3012
  → is note-service running on http://localhost:3012? start it with `cargo run -p note-service`, or see --note-url",
        cause: "The token was had, and nobody takes it: nothing listens at the service's address.",
        next: "Start the service, or give its address with `--note-url` or `--calendar-url`.",
    },
    Mistake {
        id: "services-swapped",
        title: "One service's address is the other's",
        made_by: "`assistant calendar list --calendar-url http://localhost:3012`, where the notes are.",
        says: "error: http://localhost:3012 does not answer like calendar-service: there is nothing at this path
  → is --calendar-url right?",
        cause: "Somebody answers at that address and has no calendar.",
        next: "Correct the address: the calendar is on port 3011, the notes are on 3012.",
    },
    Mistake {
        id: "issuer-is-a-service",
        title: "The issuer's address is a service's",
        made_by: "`assistant note list --issuer http://localhost:3012/auth`.",
        says: "error: http://localhost:3012/.well-known/oauth-authorization-server/auth did not answer as an issuer does: status 404; check the issuer's URL
  → see --issuer",
        cause: "A server answers there, and it is no provider: it has no metadata (RFC 8414).",
        next: "Give the provider's issuer, `http://localhost:3001/auth`: the provider logs it when it starts.",
    },
    Mistake {
        id: "issuer-without-path",
        title: "The issuer without its path",
        made_by: "`assistant note list --issuer http://localhost:3001`.",
        says: "error: http://localhost:3001/.well-known/oauth-authorization-server did not answer as an issuer does: it is the metadata of the issuer `http://localhost:3001/auth`, and `http://localhost:3001` is configured: they must be the same text; check the issuer's URL
  → see --issuer",
        cause: "The issuer's name is its whole URL, `/auth` included. It stands in each token as `iss` and is compared as a text.",
        next: "Write `http://localhost:3001/auth`.",
    },
    Mistake {
        id: "issuer-with-slash",
        title: "The issuer with a slash at its end",
        made_by: "`assistant note list --issuer http://localhost:3001/auth/`.",
        says: "error: http://localhost:3001/.well-known/oauth-authorization-server/auth did not answer as an issuer does: it is the metadata of the issuer `http://localhost:3001/auth`, and `http://localhost:3001/auth/` is configured: they must be the same text; check the issuer's URL
  → see --issuer",
        cause: "To RFC 8414 and RFC 9068 these are two issuers: nothing is normalised before the comparison.",
        next: "Leave out the last slash.",
    },
    Mistake {
        id: "issuer-by-number",
        title: "127.0.0.1 in place of localhost",
        made_by: "`assistant note list --issuer http://127.0.0.1:3001/auth`.",
        says: "error: http://127.0.0.1:3001/.well-known/oauth-authorization-server/auth did not answer as an issuer does: it is the metadata of the issuer `http://localhost:3001/auth`, and `http://127.0.0.1:3001/auth` is configured: they must be the same text; check the issuer's URL
  → see --issuer",
        cause: "Both reach the same provider, but only one is its name.",
        next: "Write `localhost` everywhere, or start the provider with `--public-url http://127.0.0.1:3001` and write that everywhere.",
    },
    Mistake {
        id: "issuer-is-its-metadata",
        title: "The URL of the metadata in place of the issuer",
        made_by: "`assistant note list --issuer http://localhost:3001/auth/.well-known/openid-configuration`.",
        says: "error: `http://localhost:3001/auth/.well-known/openid-configuration` cannot be the issuer: this is where its metadata is; write only what stands before /.well-known
  → see --issuer",
        cause: "Some products ask for the discovery URL. Here it is found from the issuer, which has to be known anyway.",
        next: "Write the member `issuer` of that document.",
    },
    Mistake {
        id: "issuer-in-the-clear",
        title: "Plain HTTP to another machine",
        made_by: "`assistant note list --issuer http://auth.example.com/auth`.",
        says: "error: `http://auth.example.com/auth` cannot be the issuer: use https; plain http is only for an issuer on this machine
  → see --issuer",
        cause: "The client's secret would cross the network for everybody to read.",
        next: "Use the provider's https URL; for a provider of your own, [put TLS in front](how-to/deploy.md).",
    },
    Mistake {
        id: "no-clients-file",
        title: "There is no clients.json",
        made_by: "`assistant note list` in a folder outside the project, or before the provider's first start.",
        says: "error: there is no clients.json in … or above it
  → start the provider once: `cargo run -p auth-provider` writes the file into the folder it runs in",
        cause: "The assistant's id and secret stand in `clients.json`, which it looks for in the current folder and those above.",
        next: "Start the provider, or change to the folder in which it runs, or name the file with `--clients-file`.",
    },
    Mistake {
        id: "clients-file-cut",
        title: "clients.json is damaged",
        made_by: "`clients.json` was edited by hand, or only half of it was copied.",
        says: "error: …clients.json is no JSON object (line …, column …)
  → delete it and start the provider again, it writes a new one",
        cause: "The file cannot be read as JSON.",
        next: "Delete it and start the provider: it writes a new one, with new secrets.",
    },
    Mistake {
        id: "clients-file-of-others",
        title: "clients.json does not have the assistant",
        made_by: "`assistant note list --clients-file ../another-project/clients.json`.",
        says: "error: …clients.json has no entry \"assistant\"
  → the policy that the provider applied has no such client; demo/policy.toml has it",
        cause: "The provider that wrote the file was started with another policy, or somebody removed the entry.",
        next: "Start the provider in the project's folder, or with `--policy demo/policy.toml`.",
    },
    Mistake {
        id: "clients-file-is-old",
        title: "clients.json is older than the provider's data",
        made_by: "`rm -r data/`, and `assistant note list` with a copy of `clients.json` from before.",
        says: "error: auth-provider gives no token for note-service with note.read: invalid_client, client authentication failed: check the client id and secret (request …)
  → the id or the secret in …clients.json is not what the provider holds; it mends the file when it starts: `cargo run -p auth-provider`",
        cause: "The provider keeps only hashes of secrets. With new data it has new ones, and the old file opens nothing.",
        next: "Use the `clients.json` that the provider writes (`--clients-file` of both), and start the provider again.",
    },
    Mistake {
        id: "secret-ends-in-a-newline",
        title: "The secret ends in a line break",
        made_by: "`ASSISTANT_CLIENT_SECRET` was filled from a file with its last line break.",
        says: "error: the client secret must be printable ASCII and not empty: copy it again from where it was issued
  → it comes from ASSISTANT_CLIENT_ID and ASSISTANT_CLIENT_SECRET",
        cause: "A secret is one word of printable ASCII; a line break is not part of it.",
        next: "Take it off: `export ASSISTANT_CLIENT_SECRET=\"$(cat file)\"` does, since `$(…)` drops line breaks at the end.",
    },
    Mistake {
        id: "secret-in-quotes",
        title: "The secret stands in quotes",
        made_by: "`ASSISTANT_CLIENT_SECRET='\"m2m_…\"'`, or an env file whose reader keeps the quotes, as `docker run --env-file` does.",
        says: "error: auth-provider gives no token for note-service with note.read: invalid_client, client authentication failed: the client secret stands in quotes: send it without them (request …)
  → the id or the secret in ASSISTANT_CLIENT_ID and ASSISTANT_CLIENT_SECRET is not what the provider holds; …",
        cause: "The quotes were taken for a part of the secret.",
        next: "Write the value without quotes.",
    },
    Mistake {
        id: "only-an-id",
        title: "Only one of id and secret is set",
        made_by: "`ASSISTANT_CLIENT_ID=assistant assistant note list`.",
        says: "error: only one of ASSISTANT_CLIENT_ID and ASSISTANT_CLIENT_SECRET is set
  → set both, or none to use clients.json",
        cause: "An id without its secret proves nothing, and the file's secret may belong to another id.",
        next: "Set the other one, too, or unset this one.",
    },
    Mistake {
        id: "scope-not-granted",
        title: "A scope that the client was not granted",
        made_by: "`assistant token note-service --scope note.delete`.",
        says: "error: auth-provider gives no token for note-service with note.delete: invalid_scope, the grant for note-service does not allow all of these scopes: it allows note.read note.write (request …)
  → `assistant token note-service` shows the scopes of the grant",
        cause: "No grant gives this client this scope for this resource. It may not even exist.",
        next: "Ask for one of those that the message lists, or add the scope to the grant in the policy.",
    },
    Mistake {
        id: "resource-not-granted",
        title: "A resource that the client may not call",
        made_by: "`assistant token token-vault`.",
        says: "error: auth-provider gives no token for token-vault: invalid_target, this client has no grant for that resource: it may call calendar-service, note-service (request …)
  → the grants of this client stand in demo/policy.toml",
        cause: "There is no arrow from this client to this resource in the policy: what is not granted is refused.",
        next: "Ask for one of those that the message lists, or add a `[[grants]]` to the policy and start the provider again.",
    },
];
