//! What the commands of `auth-provider` say that administer a running provider.

use super::Mistake;

pub(super) static MISTAKES: [Mistake; 4] = [
    Mistake {
        id: "nobody-to-administer",
        title: "No provider to administer",
        made_by: "`auth-provider client list`, when no provider runs, or at another port.",
        says: "auth-provider: no answer from http://localhost:3001/auth/oauth/token: is the issuer running there? Name another one with --url",
        cause: "These commands use the API of a running provider, as any other client of it could; they do not open its database.",
        next: "Start the provider, or name the one that runs with `--url`.",
    },
    Mistake {
        id: "administrator-without-clients-file",
        title: "The administrator's secret is not found",
        made_by: "`auth-provider client list` in another folder than the provider.",
        says: "auth-provider: cannot read clients.json: name the file of the running provider with --clients-file: No such file or directory (os error 2)",
        cause: "The commands act as the client `admin`, whose secret stands in the provider's `clients.json`.",
        next: "Change to the provider's folder, or name the file with `--clients-file`.",
    },
    Mistake {
        id: "administrator-without-right",
        title: "A client that may not administer",
        made_by: "`auth-provider client list --as assistant`.",
        says: "auth-provider: the issuer gave no token: invalid_target (this client has no grant for that resource: it may call calendar-service, note-service): the credentials are those of `assistant` of clients.json",
        cause: "Administering takes a grant for the resource `auth-provider`, with a scope for each kind of thing.",
        next: "Leave `--as` out to act as `admin`, or grant this client what it needs.",
    },
    Mistake {
        id: "secret-for-nobody",
        title: "A new secret, and no place for it",
        made_by: "`auth-provider client create billing` in a script.",
        says: "auth-provider: the secret is told only once, and the output is no terminal: name a new file for it with --secret-file, or say --print-secret",
        cause: "A secret is shown once. Into a pipe or a log of CI it is not written without being told to.",
        next: "Say `--secret-file FILE`, which makes the file readable for its owner only.",
    },
];
