//! Every way in which a caller without a good token is turned away: one table for the tests of all
//! resource servers.

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

impl Refusal {
    /// Sends `request` as this caller and sees whether it is turned away as it should be.
    ///
    /// # Panics
    /// When it is not.
    pub async fn check(&self, audience: &str, request: RequestBuilder) {
        let with = |request: RequestBuilder, value| request.header("authorization", value);
        let request = self.authorization.iter().fold(request, with);
        let answer = request.send().await.expect("the server answers");
        let name = self.name;
        assert_eq!(answer.status(), self.status, "{name}");
        let header = |name: &str| answer.headers().get(name)?.to_str().ok().map(str::to_owned);
        let challenge = header("www-authenticate").unwrap_or_default();
        let realm = format!("Bearer realm=\"{audience}\"");
        match self.error {
            // RFC 6750 section 3.1: a caller that showed no token is told no error code.
            None => assert_eq!(challenge, realm, "{name}"),
            Some(error) => {
                let begin = format!("{realm}, error=\"{error}\", error_description=\"");
                assert!(challenge.starts_with(&begin), "{name}: {challenge}");
            }
        }
        let media_type = header("content-type");
        assert_eq!(
            media_type.as_deref(),
            Some("application/problem+json"),
            "{name}"
        );
        let problem: Value = answer.json().await.expect("a JSON body");
        assert_eq!(problem["status"], self.status, "{name}: {problem}");
        assert_eq!(problem["error"].as_str(), self.error, "{name}: {problem}");
    }
}

/// The callers that a server for `audience` must turn away, though they know that `scope` is
/// needed.
pub fn refusals(issuer: &TestIssuer, audience: &str, scope: &str) -> Vec<Refusal> {
    let bad_tokens = bad_tokens(issuer, audience, scope)
        .into_iter()
        .map(|(name, token)| Refusal {
            name,
            authorization: vec![format!("Bearer {token}")],
            status: 401,
            error: Some("invalid_token"),
        });
    let good = issuer.token().audience(audience).scope(scope).mint();
    bad_tokens.chain(bad_headers(&good)).collect()
}

// One row a line, so that the tables can be read as tables.
#[rustfmt::skip]
fn bad_headers(good: &str) -> Vec<Refusal> {
    let row = |name, authorization: &[String], status, error| {
        Refusal { name, authorization: authorization.to_vec(), status, error }
    };
    let bearer = format!("Bearer {good}");
    vec![
        row("no header", &[], 401, None),
        row("an empty header", &[String::new()], 401, None),
        row("another scheme", &["Basic YTpi".to_owned()], 401, None),
        row("the token without a scheme", &[good.to_owned()], 401, None),
        row("the scheme without a token", &["Bearer".to_owned()], 401, Some("invalid_token")),
        row("scheme and token joined", &[format!("Bearer{good}")], 401, Some("invalid_token")),
        row("two tokens", &[format!("{bearer} {good}")], 401, Some("invalid_token")),
        row("two tokens and a comma", &[format!("{bearer}, {bearer}")], 401, Some("invalid_token")),
        row("a quoted token", &[format!("Bearer \"{good}\"")], 401, Some("invalid_token")),
        row("two headers", &[bearer.clone(), bearer], 400, Some("invalid_request")),
    ]
}

#[rustfmt::skip]
fn bad_tokens(issuer: &TestIssuer, audience: &str, scope: &str) -> Vec<(&'static str, String)> {
    let token = || issuer.token().audience(audience).scope(scope);
    let good = token().mint();
    let other = token().subject("somebody-else").mint();
    let (signed, signature) = good.rsplit_once('.').expect("three parts");
    let (other_signed, _) = other.rsplit_once('.').expect("three parts");
    let (url, kid) = (issuer.url(), issuer.key_id());
    let bare = ["iss", "sub", "client_id", "aud", "exp", "nbf", "iat", "jti"]
        .iter()
        .fold(issuer.token(), |token, claim| token.without_claim(claim));
    vec![
        ("expired an hour ago", token().expires_in(-3600).mint()),
        ("expired a second more than the leeway ago", token().expires_in(-11).mint()),
        ("not valid before the year 3000", token().claim("nbf", 32_503_680_000_u64).mint()),
        ("without exp", token().without_claim("exp").mint()),
        ("exp is a string", token().claim("exp", "32503680000").mint()),
        ("exp is null", token().claim("exp", Value::Null).mint()),
        ("exp is negative", token().claim("exp", -1).mint()),
        ("exp is huge", token().claim("exp", 1e300).mint()),
        ("nbf is a string", token().claim("nbf", "0").mint()),
        ("for another audience", token().audience("another-service").mint()),
        ("for an audience that begins like this one", token().audience(&audience[..1]).mint()),
        ("for a number", token().claim("aud", 42).mint()),
        ("for nobody", token().without_claim("aud").mint()),
        ("from another issuer", token().claim("iss", "http://localhost:1/auth").mint()),
        ("from an issuer with a slash more", token().claim("iss", format!("{url}/")).mint()),
        ("from one issuer of several", token().claim("iss", json!([url])).mint()),
        ("from nobody", token().without_claim("iss").mint()),
        ("without sub", token().without_claim("sub").mint()),
        ("without claims", bare.mint()),
        ("typ of an ID token", token().header("typ", "JWT").mint()),
        ("typ of a DPoP proof", token().header("typ", "dpop+jwt").mint()),
        ("typ is a number", token().header("typ", 1).mint()),
        ("without typ", token().header("typ", Value::Null).mint()),
        ("a critical extension", token().header("crit", json!(["exp"])).mint()),
        ("alg none", token().alg_none().mint()),
        ("HS256 with the public key", token().hs256_with_public_key().mint()),
        ("an alg that is not the key's", token().header("alg", "RS256").mint()),
        ("an alg that nobody knows", token().header("alg", "ES999").mint()),
        ("a kid that nobody knows", token().unknown_key().mint()),
        ("a stranger's key under our kid", token().unknown_key().header("kid", kid).mint()),
        ("kid is a number", token().header("kid", 1).mint()),
        ("the claims of another token", format!("{other_signed}.{signature}")),
        ("no signature", format!("{signed}.")),
        ("half a signature", format!("{signed}.{}", &signature[..signature.len() / 2])),
        ("a padded signature", format!("{good}==")),
        ("two parts", signed.to_owned()),
        ("four parts", format!("{good}.{signature}")),
        ("three empty parts", "..".to_owned()),
        ("an opaque token", "mF_9.B5f-4.1JqM".to_owned()),
        ("16 KiB of the same letter", "a".repeat(16 * 1024)),
    ]
}
