//! One token request (RFC 6749 section 4.4.2) and how its answer is read.

use reqwest::{
    Client, StatusCode,
    header::{ACCEPT, AUTHORIZATION},
};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::Deserialize;
use url::Url;

use super::{AccessToken, FetchError};
use crate::{
    ScopeSet,
    credentials::Credentials,
    net::{self, NetError},
};

/// The life of a token whose answer names none, in seconds: short, since RFC 6749 section 5.1
/// leaves it open.
const DEFAULT_LIFE: u64 = 60;

/// The longest life that is believed, in seconds: a year.
const LONGEST_LIFE: f64 = 31_536_000.0;

/// What a token is asked for.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) resource: String,
    /// None: all that the client was granted.
    pub(super) scopes: ScopeSet,
}

/// Asks for a token. `now` is the time before the request, in milliseconds since the Unix epoch: a
/// token's life is counted from there, so that it never seems longer than it is.
pub(super) async fn fetch(
    http: &Client,
    endpoint: &Url,
    credentials: &Credentials,
    wish: &Wish,
    now: u64,
) -> Result<AccessToken, FetchError> {
    let scope = wish.scopes.to_string();
    // RFC 8707 wants a URI; names that an issuer registered otherwise are its own affair.
    let mut form = vec![
        ("grant_type", "client_credentials"),
        ("resource", &wish.resource),
    ];
    if !scope.is_empty() {
        form.push(("scope", &scope));
    }
    let request = http
        .post(endpoint.clone())
        .header(AUTHORIZATION, credentials.header())
        .header(ACCEPT, "application/json")
        .form(&form);
    let answer = net::ask(request, endpoint).await?;
    let body = Zeroizing::new(answer.body);
    if answer.status != StatusCode::OK {
        return Err(refusal(endpoint, answer.status, &body));
    }
    read_token(&body, wish, now).map_err(|reason| NetError::unexpected(endpoint, reason).into())
}

/// RFC 6749 section 5.1.
fn read_token(body: &[u8], wish: &Wish, now: u64) -> Result<AccessToken, &'static str> {
    #[derive(Deserialize)]
    struct Answer {
        access_token: SecretString,
        token_type: String,
        expires_in: Option<f64>,
        scope: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|_| "the answer is no token response of RFC 6749 section 5.1")?;
    if !answer.token_type.eq_ignore_ascii_case("bearer") {
        return Err("the token is not a bearer token");
    }
    let token = answer.access_token.expose_secret();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the access token is not printable ASCII");
    }
    let life = match answer.expires_in {
        None => DEFAULT_LIFE,
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between one and a year of seconds"
        )]
        Some(seconds) if seconds >= 1.0 => seconds.min(LONGEST_LIFE) as u64,
        Some(_) => return Err("expires_in is not a positive number of seconds"),
    };
    let scopes = match answer.scope {
        None => wish.scopes.clone(),
        Some(scope) => scope.parse().map_err(|_| "the scope is no scope list")?,
    };
    Ok(AccessToken {
        secret: answer.access_token,
        resource: wish.resource.clone(),
        scopes,
        fetched_at: now,
        expires_at: now + life * 1000,
    })
}

/// RFC 6749 section 5.2; an answer without an `error` is not the issuer's.
fn refusal(endpoint: &Url, status: StatusCode, body: &[u8]) -> FetchError {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
        error_description: Option<String>,
        request_id: Option<String>,
    }
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => FetchError::Refused {
            error: printable(&refusal.error),
            description: refusal.error_description.as_deref().map(printable),
            request_id: refusal.request_id.as_deref().map(printable),
            status: status.as_u16(),
        },
        Err(_) => NetError::unexpected(endpoint, format!("status {}", status.as_u16())).into(),
    }
}

/// The text is going to stand in a log or a terminal: control characters are taken out, and it ends
/// somewhere.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish() -> Wish {
        Wish {
            resource: "notes".to_owned(),
            scopes: "note.read note.write".parse().unwrap(),
        }
    }

    #[test]
    fn an_answer_is_read_as_the_rfc_has_it() {
        for (body, life, scopes) in [
            (
                r#"{"access_token":"t","token_type":"Bearer"}"#,
                60,
                "note.read note.write",
            ),
            (
                r#"{"access_token":"t","token_type":"bearer","expires_in":3600,"more":[1]}"#,
                3600,
                "note.read note.write",
            ),
            (
                r#"{"access_token":"t","token_type":"BEARER","expires_in":1e300,"scope":"a"}"#,
                31_536_000,
                "a",
            ),
            (
                r#"{"access_token":"t","token_type":"Bearer","scope":""}"#,
                60,
                "",
            ),
        ] {
            let token = read_token(body.as_bytes(), &wish(), 5_000).unwrap();
            assert_eq!(token.expose(), "t");
            assert_eq!(token.fetched_at(), 5);
            assert_eq!(token.expires_at(), 5 + life, "{body}");
            assert_eq!(token.scopes().to_string(), scopes, "{body}");
        }
    }

    #[test]
    fn an_answer_that_is_no_token_is_not_taken_for_one() {
        for body in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"access_token":"t"}"#,
            r#"{"token_type":"Bearer"}"#,
            r#"{"access_token":"","token_type":"Bearer"}"#,
            r#"{"access_token":7,"token_type":"Bearer"}"#,
            r#"{"access_token":"a b","token_type":"Bearer"}"#,
            r#"{"access_token":"a\r\nX: y","token_type":"Bearer"}"#,
            r#"{"access_token":"t","token_type":"DPoP"}"#,
            r#"{"access_token":"t","token_type":"Bearer","expires_in":0}"#,
            r#"{"access_token":"t","token_type":"Bearer","expires_in":-1}"#,
            r#"{"access_token":"t","token_type":"Bearer","expires_in":"3600"}"#,
            r#"{"access_token":"t","token_type":"Bearer","expires_in":true}"#,
            r#"{"access_token":"t","token_type":"Bearer","scope":["a"]}"#,
            r#"{"access_token":"t","token_type":"Bearer","scope":"a  b"}"#,
        ] {
            assert!(read_token(body.as_bytes(), &wish(), 0).is_err(), "{body}");
        }
    }

    #[test]
    fn a_refusal_keeps_its_words_but_not_their_control_characters() {
        let url = Url::parse("http://localhost/token").unwrap();
        let body = r#"{
            "error": "invalid_client",
            "error_description": "no\u001b[2J such",
            "request_id": "r1"
        }"#;
        let error = refusal(&url, StatusCode::UNAUTHORIZED, body.as_bytes());
        assert_eq!(
            error.to_string(),
            "the issuer gave no token: invalid_client (no[2J such)"
        );
        let FetchError::Refused {
            request_id, status, ..
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!((request_id.as_deref(), status), (Some("r1"), 401));

        let error = refusal(&url, StatusCode::BAD_GATEWAY, b"<html>Bad Gateway");
        assert!(matches!(error, FetchError::Unexpected { .. }));
    }
}
