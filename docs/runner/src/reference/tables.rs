//! What only a person can know: what to do about an error, and what a path is for.

/// Each has a `--help`.
pub(super) const PROGRAMS: [&str; 7] = [
    "auth-provider",
    "calendar-service",
    "note-service",
    "resource-server",
    "microservice",
    "token-vault",
    "assistant",
];

/// Codes of the OAuth endpoints: status, meaning, and what to do.
pub(super) const ERRORS: [(&str, u16, &str, &str); 11] = [
    (
        "invalid_request",
        400,
        "The request lacks something, or has something twice",
        "Read the description: it names the parameter",
    ),
    (
        "invalid_client",
        401,
        "Unknown client, wrong secret, or one that was switched off: which, the caller is not told",
        "Compare id and secret with `clients.json`; ask an administrator for `auth-provider client show`",
    ),
    (
        "unauthorized_client",
        400,
        "The client may not ask in this way",
        "Ask for a token for itself, with `client_credentials`",
    ),
    (
        "unsupported_grant_type",
        400,
        "`grant_type` is not one that this server has",
        "Send `grant_type=client_credentials`",
    ),
    (
        "unsupported_response_type",
        400,
        "Somebody wants to log in, and nobody can here",
        "Use the token endpoint",
    ),
    (
        "invalid_scope",
        400,
        "The grant does not allow all of these scopes",
        "Ask for those that the description names, or have the grant widened",
    ),
    (
        "invalid_target",
        400,
        "No resource was named, or none that this client may call",
        "Name one of those in the description, or have a grant made: `auth-provider explain` says which",
    ),
    (
        "invalid_client_metadata",
        400,
        "A registration (RFC 7591) asks for what cannot be",
        "Read the description: it names the field",
    ),
    (
        "invalid_redirect_uri",
        400,
        "A registration has `redirect_uris`",
        "Leave them out: nobody is redirected here",
    ),
    (
        "unapproved_software_statement",
        400,
        "A registration has a software statement",
        "Leave it out: none is believed here",
    ),
    (
        "temporarily_unavailable",
        503,
        "The database is away, or a limit of the server is reached",
        "Come back after `Retry-After`",
    ),
];

/// Paths besides those in the document of the administration: program, method, path, purpose.
pub(super) const PATHS: [(&str, &str, &str, &str); 32] = [
    (
        "auth-provider",
        "POST",
        "/auth/oauth/token",
        "Get a token (RFC 6749 section 4.4, RFC 8707)",
    ),
    (
        "auth-provider",
        "POST",
        "/auth/oauth/introspect",
        "Ask what a token is worth (RFC 7662)",
    ),
    (
        "auth-provider",
        "POST",
        "/auth/oauth/revoke",
        "Take a token back (RFC 7009)",
    ),
    (
        "auth-provider",
        "GET",
        "/auth/oauth/revocations",
        "Follow the revocations: Server-Sent Events, or the list as JSON",
    ),
    (
        "auth-provider",
        "GET",
        "/auth/oauth/authorize",
        "Says that nobody can log in here",
    ),
    (
        "auth-provider",
        "GET",
        "/auth/.well-known/oauth-authorization-server",
        "Metadata (RFC 8414); also at the other places where clients look",
    ),
    (
        "auth-provider",
        "GET",
        "/auth/jwt/jwks.json",
        "The key set (RFC 7517); also at `/.well-known/jwks.json`",
    ),
    ("auth-provider", "GET", "/health", "The process is alive"),
    (
        "auth-provider",
        "GET",
        "/ready",
        "It can do its work; 503 says what is missing",
    ),
    (
        "auth-provider",
        "GET",
        "/metrics",
        "Numbers, for Prometheus",
    ),
    (
        "auth-provider",
        "GET",
        "/admin/v1/docs",
        "The administration, to read; its paths are below",
    ),
    (
        "calendar-service",
        "GET",
        "/event",
        "List events: `calendar.read`",
    ),
    (
        "calendar-service",
        "POST",
        "/event",
        "Add one: `calendar.write`",
    ),
    (
        "calendar-service",
        "PUT",
        "/event/1",
        "Change one: `calendar.write`",
    ),
    (
        "calendar-service",
        "DELETE",
        "/event/1",
        "Delete one: `calendar.write`",
    ),
    ("note-service", "GET", "/note", "List notes: `note.read`"),
    ("note-service", "POST", "/note", "Add one: `note.write`"),
    ("note-service", "PUT", "/note/1", "Change one: `note.write`"),
    (
        "note-service",
        "DELETE",
        "/note/1",
        "Delete one: `note.write`",
    ),
    ("resource-server", "GET", "/public", "Anybody may read this"),
    (
        "resource-server",
        "GET",
        "/protected",
        "Who has the required scope may read this",
    ),
    ("microservice", "GET", "/hello", "Be greeted: `hello`"),
    (
        "microservice",
        "POST",
        "/query",
        "Have it call another service; from this machine only",
    ),
    (
        "token-vault",
        "POST",
        "/github",
        "Hand tokens over: `tokens.write`, or `github:tokens.write`; other services alike",
    ),
    (
        "token-vault",
        "GET",
        "/github",
        "Get a good token: `tokens.read`",
    ),
    (
        "token-vault",
        "GET",
        "/github/all",
        "Get all of a user's: `tokens.read`",
    ),
    (
        "token-vault",
        "GET",
        "/github/status",
        "How the connections are, without secrets: `tokens.read`",
    ),
    (
        "token-vault",
        "DELETE",
        "/github",
        "Have one connection forgotten: `tokens.delete`, or `github:tokens.delete`",
    ),
    (
        "token-vault",
        "DELETE",
        "/github/all",
        "Have all of a user's connections to this service forgotten: `tokens.delete`",
    ),
    (
        "token-vault",
        "DELETE",
        "/all",
        "Have all of a user's forgotten: `tokens.delete`",
    ),
    (
        "token-vault",
        "GET",
        "/.well-known/jwks.json",
        "The public keys of what the vault signs",
    ),
    (
        "token-vault",
        "GET",
        "/audit",
        "Who was given what: `audit.read`",
    ),
];

pub(super) const PORTS: [(&str, &str, u16); 6] = [
    ("auth-provider", "", 3001),
    ("calendar-service", "", 3011),
    ("note-service", "", 3012),
    ("resource-server", "", 8081),
    ("microservice", "m1", 8001),
    ("token-vault", "", 3013),
];
