//! Every way in which a caller without a good token is turned away: one table for the tests of all resource
//! servers.

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::TestIssuer;

/// A caller that a resource server must turn away, and how (RFC 6750 section 3.1).
#[derive(Debug)]
pub struct Refusal {
    /// What is wrong.
    pub name: &'static str,
    /// The `Authorization` headers that are sent, mostly one.
    pub authorization: Vec<String>,
    /// The status of the answer.
    pub status: u16,
    /// The `error` of the answer. There is none when the caller showed no token at all.
    pub error: Option<&'static str>,
}

/// The callers that a server for `audience` must turn away from a path that needs `scope`.
pub fn refusals(issuer: &TestIssuer, audience: &str, scope: &str) -> Vec<Refusal> {
    let token = || issuer.token().audience(audience).scope(scope);
    let good = token().mint();
    let other = token().subject("somebody-else").mint();
    let (header, payload, signature) = segments(&good);
    let (_, other_payload, other_signature) = segments(&other);
    let mut table: Vec<Refusal> = [
        ("it has expired", token().expires_in(-3600).mint()),
        ("it expires this second, leeway over", token().expires_in(-11).mint()),
        ("it is not valid yet", token().claim("nbf", 32_503_680_000_u64).mint()),
        ("it has no exp", token().without_claim("exp").mint()),
        ("its exp is a string", token().claim("exp", "32503680000").mint()),
        ("its exp is null", token().claim("exp", Value::Null).mint()),
        ("its exp is huge", token().claim("exp", 1e300).mint()),
        ("its nbf is a string", token().claim("nbf", "0").mint()),
        ("it is for another audience", token().audience("another-service").mint()),
        ("it is for nobody", token().without_claim("aud").mint()),
        ("its audience is a number", token().claim("aud", 42).mint()),
        ("its audience is the beginning of ours", token().audience(&audience[..4]).mint()),
        ("it is from another issuer", token().claim("iss", "http://localhost:1/auth").mint()),
        ("its issuer has a slash more", token().claim("iss", format!("{}/", issuer.url())).mint()),
        ("its issuer is one of several", token().claim("iss", json!([issuer.url()])).mint()),
        ("it has no issuer", token().without_claim("iss").mint()),
        ("it has no subject", token().without_claim("sub").mint()),
        ("it has no claims", issuer.token().empty().mint()),
        ("it is an ID token", token().header("typ", "JWT").mint()),
        ("it is a DPoP proof", token().header("typ", "dpop+jwt").mint()),
        ("its typ is a number", token().header("typ", 1).mint()),
        ("it has a crit of its own", token().header("crit", json!(["exp"])).mint()),
        ("it is not signed", token().alg_none().mint()),
        ("it is signed with the public key as a secret", token().hs256_with_public_key().mint()),
        ("its key is unknown", token().unknown_key().mint()),
        ("its kid is a number", token().header("kid", 1).mint()),
        ("its alg is unknown", token().header("alg", "ES999").mint()),
        ("its alg is that of another key", token().header("alg", "RS256").mint()),
        ("its claims were exchanged", format!("{header}.{other_payload}.{signature}")),
        ("its signature was exchanged", format!("{header}.{payload}.{other_signature}")),
        ("its signature is gone", format!("{header}.{payload}.")),
        ("its signature was cut short", good[..good.len() - 2].to_owned()),
        ("its signature is padded", format!("{good}=")),
        ("its signature is spelled differently", respelled(&good)),
        ("it has two segments", format!("{header}.{payload}")),
        ("it has four segments", format!("{good}.{signature}")),
        ("it is dots", "..".to_owned()),
        ("it is no JWT", "mF_9.B5f-4.1JqM".to_owned()),
        ("it is 16 KiB of nothing", "a".repeat(16 * 1024)),
    ]
    .into_iter()
    .map(|(name, token)| Refusal {
        name,
        authorization: vec![format!("Bearer {token}")],
        status: 401,
        error: Some("invalid_token"),
    })
    .collect();
    table
}
