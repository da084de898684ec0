//! What providers answer to a refresh token, each in its own way (RFC 6749 sections 5.1 and 5.2 are one of them).
//!
//! The one thing that must be right: a refusal that is final must not be taken for a failure that passes, nor the other way
//! round. So each dialect lists the codes that are final, and nothing else is.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;

use super::{Answer, Failure, Grant};
use crate::secret::Token;

/// How a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Errors in answers with status 200; the lifetime of the refresh token in `refresh_token_expires_in`.
    Github,
    /// `"ok": false` in answers with status 200; the tokens of a user one level deeper.
    Slack,
    /// RFC 6749.
    Okta,
    /// RFC 6749.
    Discord,
    /// RFC 6749.
    Generic,
}

/// An answer as it came.
#[derive(Debug)]
pub struct HttpAnswer<'a> {
    pub status: u16,
    /// Whether the body is a form, as GitHub sends it to who does not ask for JSON.
    pub is_form: bool,
    pub retry_after: Option<Duration>,
    pub body: &'a [u8],
}

/// Where refusals of Slack are final: the refresh token is no longer one. The others concern the application, or pass.
/// `invalid_auth` is none of them: Slack says that also to an address from which it may not be asked.
const SLACK_FINAL: [&str; 5] = [
    "invalid_refresh_token",
    "token_expired",
    "token_revoked",
    "account_inactive",
    "invalid_grant",
];

const SLACK_PASSING: [&str; 5] = [
    "fatal_error",
    "internal_error",
    "request_timeout",
    "service_unavailable",
    "team_added_to_org",
];

/// What the answer means.
pub fn read_answer(dialect: Dialect, answer: &HttpAnswer<'_>) -> Answer {
    let failed = |failure| Answer::Failed {
        failure,
        retry_after: answer.retry_after,
    };
    match answer.status {
        429 => return failed(Failure::RateLimited),
        500.. => return failed(Failure::ServerError),
        _ => {}
    }
    let body = if answer.is_form {
        form(answer.body)
    } else {
        serde_json::from_slice(answer.body).ok()
    };
    let Some(body) = body.filter(Value::is_object) else {
        // A proxy's page, perhaps: with a status of success nobody knows what was done behind it.
        let failure = if answer.status < 300 {
            Failure::Malformed
        } else {
            Failure::ClientRefused
        };
        return failed(failure);
    };
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    match (dialect, text("error")) {
        (Dialect::Slack, error) if body.get("ok") == Some(&Value::Bool(false)) => match error {
            Some(error) if SLACK_FINAL.contains(&error) => Answer::Refused,
            Some("ratelimited" | "rate_limited") => failed(Failure::RateLimited),
            Some(error) if SLACK_PASSING.contains(&error) => failed(Failure::ServerError),
            _ => failed(Failure::ClientRefused),
        },
        (Dialect::Github, Some("bad_refresh_token")) | (_, Some("invalid_grant")) => {
            Answer::Refused
        }
        (_, Some("temporarily_unavailable" | "server_error")) => failed(Failure::ServerError),
        (_, Some("slow_down")) => failed(Failure::RateLimited),
        (_, Some(_)) => failed(Failure::ClientRefused),
        (_, None) if answer.status >= 300 => failed(Failure::ClientRefused),
        (Dialect::Slack, None) if text("access_token").is_none() => {
            grant(body.get("authed_user").unwrap_or(&Value::Null))
                .unwrap_or(failed(Failure::Malformed))
        }
        (_, None) => grant(&body).unwrap_or(failed(Failure::Malformed)),
    }
}

/// The tokens in an answer of success; `None` when it makes no sense. A member that is there and is no token counts as that:
/// the answer spent the refresh token, and to go on with a guess would lose what came for it without a word.
fn grant(body: &Value) -> Option<Answer> {
    let token = |name: &str| match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Token::parse(text.as_str().into()).map(Some).map_err(drop),
        Some(_) => Err(()),
    };
    // Some send the number as a text.
    let seconds = |name: &str| match body.get(name) {
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let scopes = body.get("scope").and_then(Value::as_str);
    let scopes = scopes.map(|scopes| {
        let parts = scopes.split([' ', ',']).filter(|scope| !scope.is_empty());
        parts.map(str::to_owned).collect()
    });
    Some(Answer::Granted(Box::new(Grant {
        access: token("access_token").ok()??,
        refresh: token("refresh_token").ok()?,
        expires_in: seconds("expires_in"),
        refresh_expires_in: seconds("refresh_token_expires_in"),
        scopes,
    })))
}

fn form(body: &[u8]) -> Option<Value> {
    let text = str::from_utf8(body).ok()?;
    let pairs = form_urlencoded::parse(text.as_bytes()).into_owned();
    Some(Value::Object(
        pairs
            .map(|(name, value)| (name, Value::String(value)))
            .collect(),
    ))
}

#[cfg(test)]
mod tests {
    use Dialect::{Discord, Generic, Github, Okta, Slack};

    use super::*;

    /// What an answer means, in a few words.
    fn meaning(dialect: Dialect, status: u16, body: &str) -> String {
        let is_form = body.starts_with("access_token=") || body.starts_with("error=");
        let answer = HttpAnswer {
            status,
            is_form,
            retry_after: None,
            body: body.as_bytes(),
        };
        match read_answer(dialect, &answer) {
            Answer::Granted(grant) => format!(
                "{} {} {:?} {:?} {:?}",
                grant.access.expose(),
                grant
                    .refresh
                    .map_or("-".to_owned(), |token| token.expose().to_owned()),
                grant.expires_in,
                grant.refresh_expires_in,
                grant.scopes.map(|scopes| scopes.join("+")),
            ),
            Answer::Refused => "refused".to_owned(),
            Answer::Failed { failure, .. } => failure.as_str().to_owned(),
        }
    }

    // One row a line, so that the table can be read as a table.
    #[rustfmt::skip]
    #[test]
    fn every_dialect_is_understood() {
        for (dialect, status, body, expected) in [
            (Generic, 200, r#"{"access_token":"a","refresh_token":"r","expires_in":60}"#, "a r Some(60) None None"),
            (Generic, 200, r#"{"access_token":"a","expires_in":"60","scope":"x y"}"#, r#"a - Some(60) None Some("x+y")"#),
            (Generic, 200, r#"{"access_token":"a","refresh_token":null}"#, "a - None None None"),
            (Generic, 200, r#"{"access_token":"a","refresh_token":7}"#, "malformed"),
            (Generic, 200, r#"{"access_token":"a","refresh_token":"r s"}"#, "malformed"),
            (Generic, 200, r#"{"access_token":""}"#, "malformed"),
            (Generic, 200, r#"{"token":"a"}"#, "malformed"),
            (Generic, 200, "[]", "malformed"),
            (Generic, 200, "<html>", "malformed"),
            (Generic, 400, r#"{"error":"invalid_grant"}"#, "refused"),
            (Generic, 401, r#"{"error":"invalid_client"}"#, "client_refused"),
            (Generic, 400, r#"{"error":"unsupported_grant_type"}"#, "client_refused"),
            (Generic, 400, r#"{"error":"temporarily_unavailable"}"#, "server_error"),
            (Generic, 404, "not found", "client_refused"),
            (Generic, 302, "", "client_refused"),
            (Generic, 429, r#"{"error":"invalid_grant"}"#, "rate_limited"),
            (Generic, 500, r#"{"error":"invalid_grant"}"#, "server_error"),
            (Generic, 503, "", "server_error"),
            (Generic, 400, r#"{"error":"bad_refresh_token"}"#, "client_refused"),
            (Github, 200, r#"{"access_token":"ghu_a","expires_in":28800,"refresh_token":"ghr_r","refresh_token_expires_in":15897600,"scope":"","token_type":"bearer"}"#,
                          r#"ghu_a ghr_r Some(28800) Some(15897600) Some("")"#),
            (Github, 200, "access_token=ghu_a&refresh_token=ghr_r&expires_in=28800", "ghu_a ghr_r Some(28800) None None"),
            (Github, 200, r#"{"error":"bad_refresh_token","error_description":"…"}"#, "refused"),
            (Github, 200, "error=bad_refresh_token", "refused"),
            (Github, 200, r#"{"error":"incorrect_client_credentials"}"#, "client_refused"),
            (Slack, 200, r#"{"ok":true,"access_token":"xoxe.a","refresh_token":"xoxe-1-r","expires_in":43200,"scope":"chat:write,users:read"}"#,
                         r#"xoxe.a xoxe-1-r Some(43200) None Some("chat:write+users:read")"#),
            (Slack, 200, r#"{"ok":true,"authed_user":{"access_token":"xoxe.u","refresh_token":"r","expires_in":43200}}"#, "xoxe.u r Some(43200) None None"),
            (Slack, 200, r#"{"ok":true}"#, "malformed"),
            (Slack, 200, r#"{"ok":false,"error":"invalid_refresh_token"}"#, "refused"),
            (Slack, 200, r#"{"ok":false,"error":"token_revoked"}"#, "refused"),
            (Slack, 200, r#"{"ok":false,"error":"account_inactive"}"#, "refused"),
            (Slack, 200, r#"{"ok":false,"error":"invalid_auth"}"#, "client_refused"),
            (Slack, 200, r#"{"ok":false,"error":"ratelimited"}"#, "rate_limited"),
            (Slack, 200, r#"{"ok":false,"error":"internal_error"}"#, "server_error"),
            (Slack, 200, r#"{"ok":false,"error":"bad_client_secret"}"#, "client_refused"),
            (Slack, 200, r#"{"ok":false}"#, "client_refused"),
            (Slack, 200, r#"{"ok":false,"access_token":"a"}"#, "client_refused"),
            (Okta, 400, r#"{"error":"invalid_grant","error_description":"The refresh token is invalid or expired."}"#, "refused"),
            (Okta, 200, r#"{"token_type":"Bearer","expires_in":3600,"access_token":"e.y.J","scope":"offline_access","refresh_token":"x"}"#,
                        r#"e.y.J x Some(3600) None Some("offline_access")"#),
            (Discord, 400, r#"{"error":"invalid_grant","error_description":"Invalid \"refresh_token\""}"#, "refused"),
            (Discord, 429, r#"{"message":"You are being rate limited.","retry_after":64.5}"#, "rate_limited"),
        ] {
            assert_eq!(meaning(dialect, status, body), expected, "{dialect:?} {status} {body}");
        }
    }
}
