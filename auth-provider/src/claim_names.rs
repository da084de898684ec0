//! Claims with a meaning of their own, which nobody else may write into a token.

/// What the server writes, in one profile or another (RFC 7519 section 4.1, RFC 9068 section 2.2).
pub const SERVERS_OWN: [&str; 12] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "client_id",
    "scope",
    "scp",
    "stt",
    "gid",
];

/// What the server does not write either: in whose stead somebody acts, how he proved who he is, and who may present the
/// token (RFC 8693 section 4, RFC 7800, RFC 9068 section 2.2, OpenID Connect).
pub const ABOUT_THE_HOLDER: [&str; 8] = [
    "cnf",
    "act",
    "may_act",
    "azp",
    "acr",
    "amr",
    "auth_time",
    "sid",
];
