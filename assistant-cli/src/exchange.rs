//! HTTP exchanges as people may see them: who asked whom for what, and what came back, without
//! secrets.
//!
//! A token or a secret is a bearer's: who reads it has it. So each text passes [`hide`] before it is
//! kept, and what is known to be secret is left out by name.

use serde::Serialize;
use serde_json::Value;
use url::Url;

use crate::api::Servers;

/// The longest body that is kept, in characters.
const MAX_BODY: usize = 1200;

/// Headers that say something to a reader; the others are left out.
const TELLING: [&str; 11] = [
    "allow",
    "authorization",
    "cache-control",
    "content-type",
    "etag",
    "if-match",
    "link",
    "location",
    "retry-after",
    "traceparent",
    "www-authenticate",
];

/// Members of JSON and fields of forms whose value is nobody else's business.
const SECRET: [&str; 6] = [
    "access_token",
    "client_secret",
    "id_token",
    "refresh_token",
    "registration_access_token",
    "token",
];

/// A request and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exchange {
    /// Who asked.
    pub from: String,
    /// Who was asked.
    pub to: String,
    /// Such as `GET`.
    pub method: String,
    /// What was asked.
    pub url: String,
    /// What went out.
    pub request: Message,
    /// `None` when nobody answered.
    pub status: Option<u16>,
    /// What came back.
    pub response: Message,
    /// Milliseconds from the request to its answer.
    pub took_ms: u64,
}

/// One half of an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `name: value`, the telling ones.
    pub headers: Vec<String>,
    /// `None` where there is none, or where it was not looked at.
    pub body: Option<String>,
}

impl Message {
    /// Of headers and a body, keeps what may be shown.
    pub fn new<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        body: Option<&str>,
    ) -> Self {
        let mut headers: Vec<String> = headers
            .into_iter()
            .filter(|(name, _)| TELLING.contains(name))
            .map(|(name, value)| match (name, value.split_once(' ')) {
                ("authorization", Some((scheme, _))) => format!("{name}: {scheme} …"),
                ("authorization", None) => format!("{name}: …"),
                _ => format!("{name}: {}", hide(value)),
            })
            .collect();
        headers.sort();
        let body = body.filter(|body| !body.is_empty()).map(shown_body);
        Self { headers, body }
    }
}

impl Exchange {
    /// The method, and the path on the server.
    pub fn what(&self) -> String {
        let path = self.url.parse::<Url>().map_or_else(
            |_| self.url.clone(),
            |url| match url.query() {
                Some(query) => format!("{}?{query}", url.path()),
                None => url.path().to_owned(),
            },
        );
        format!("{} {path}", self.method)
    }

    /// `200`, or what there is instead.
    pub fn outcome(&self) -> String {
        self.status
            .map_or_else(|| "no answer".to_owned(), |status| status.to_string())
    }
}

/// Which server is called what.
#[derive(Clone, Debug)]
pub struct Names(Vec<(String, &'static str)>);

impl Names {
    /// The names of the servers that the assistant knows.
    pub fn of(servers: &Servers) -> Self {
        let issuer = servers.issuer.parse::<Url>().ok();
        let known = [
            (issuer.as_ref(), "auth-provider"),
            (Some(&servers.calendar), "calendar-service"),
            (Some(&servers.note), "note-service"),
            (Some(&servers.files), "resource-server"),
        ];
        let known = known.into_iter();
        Self(
            known
                .filter_map(|(url, name)| Some((url?.origin().ascii_serialization(), name)))
                .collect(),
        )
    }

    /// The name of the server at a URL; one that is not known is called by its origin.
    pub fn at(&self, url: &Url) -> String {
        let origin = url.origin().ascii_serialization();
        let known = self.0.iter().find(|(known, _)| *known == origin);
        known.map_or(origin, |(_, name)| (*name).to_owned())
    }

    /// What the library made for `from`, as it told of it.
    pub fn seen(&self, from: &str, seen: &m2m::watch::Exchange) -> Exchange {
        fn pairs(headers: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
            headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
        }
        Exchange {
            from: from.to_owned(),
            to: self.at(&seen.url),
            method: seen.method.clone(),
            url: seen.url.to_string(),
            request: Message::new(pairs(&seen.request_headers), None),
            status: seen.status,
            response: Message::new(pairs(&seen.response_headers), None),
            took_ms: u64::try_from(seen.took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// A body without its secrets and without an endless rest.
fn shown_body(body: &str) -> String {
    let text = match serde_json::from_str::<Value>(body) {
        Ok(mut json) => {
            mask(&mut json);
            json.to_string()
        }
        Err(_) => body.to_owned(),
    };
    let mut text = hide(&mask_form(&text));
    if let Some((end, _)) = text.char_indices().nth(MAX_BODY) {
        text.truncate(end);
        text.push_str(" …");
    }
    text
}

fn mask(json: &mut Value) {
    match json {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if SECRET.contains(&name.as_str()) => *text = hint(text),
                    other => mask(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

/// `a=1&token=…`: only what looks like a form is taken for one.
fn mask_form(text: &str) -> String {
    if text.contains(['{', '\n', ' ']) || !text.contains('=') {
        return text.to_owned();
    }
    let fields = text.split('&').map(|field| match field.split_once('=') {
        Some((name, value)) if SECRET.contains(&name) => format!("{name}={}", hint(value)),
        _ => field.to_owned(),
    });
    fields.collect::<Vec<_>>().join("&")
}

/// What sort of secret it was: `eyJ…`, `m2m_…`, or only `…`. Nothing of its random part stays.
fn hint(secret: &str) -> String {
    let known = ["eyJ", "m2m_"];
    let prefix = known.iter().find(|prefix| secret.starts_with(**prefix));
    format!("{}…", prefix.unwrap_or(&""))
}

/// The text with everything cut short that looks like a token or a secret, wherever it stands.
pub fn hide(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let word = &rest[start..];
        let end = word.find(|c| !is_part(c)).unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        shown.push_str(&rest[..start]);
        let looks_secret = word.starts_with("eyJ") || word.starts_with("m2m_");
        if looks_secret && word.len() > 12 {
            shown.push_str(&hint(word));
        } else {
            shown.push_str(word);
        }
        rest = after;
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_cut_short_wherever_it_stands() {
        for (body, shown) in [
            (
                r#"{"access_token":"opaque","scope":"a b","expires_in":60}"#,
                r#"{"access_token":"…","expires_in":60,"scope":"a b"}"#,
            ),
            (
                r#"[{"client_secret":"m2m_0123-45_6789","n":{"token":"eyJhbGciOi.e.s"}}]"#,
                r#"[{"client_secret":"m2m_…","n":{"token":"eyJ…"}}]"#,
            ),
            (
                "token=eyJhbGciOiJub25lIn0.e30.&token_type_hint=access_token",
                "token=eyJ…&token_type_hint=access_token",
            ),
            ("client_id=a&client_secret=x", "client_id=a&client_secret=…"),
            (
                "it said: eyJhbGciOiJub25lIn0.e30.x, m2m_at_0123456789!",
                "it said: eyJ…, m2m_…!",
            ),
            (
                "[clients.m2m_x]\nname = \"é eyJ\"",
                "[clients.m2m_x]\nname = \"é eyJ\"",
            ),
        ] {
            assert_eq!(Message::new([], Some(body)).body.as_deref(), Some(shown));
        }
        let headers = [
            ("authorization", "Bearer eyJhbGciOiJub25lIn0.e30.x"),
            ("x-other", "1"),
            ("www-authenticate", "Bearer error=\"invalid_token\""),
        ];
        assert_eq!(
            Message::new(headers, Some("")).headers,
            [
                "authorization: Bearer …",
                "www-authenticate: Bearer error=\"invalid_token\""
            ]
        );
    }

    #[test]
    fn a_long_body_ends_somewhere() {
        let body = "é".repeat(5000);
        let shown = Message::new([], Some(&body)).body.unwrap_or_default();
        assert_eq!(shown.chars().count(), MAX_BODY + 2);
    }
}
