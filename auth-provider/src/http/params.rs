//! The parameters of a request, from a form or from JSON, with nothing lost and nothing guessed.

use std::{borrow::Cow, cmp::Ordering, fmt};

use compact_str::CompactString;
use m2m::{ScopeSet, service::redacted};
use percent_encoding::percent_decode_str;
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, MapAccess, Visitor},
};
use serde_json::Value;

use crate::error::{ErrorCode, OAuthError};

/// Parameters in the [order](by_name) of their names, which are all different. What has no value was omitted (RFC 6749 section 3.2);
/// what nobody takes is ignored.
#[derive(Debug, Default)]
pub(super) struct Params(Vec<(CompactString, Value)>);

/// More parameters than that take another allocation.
const MOST_PARAMS: usize = 6;

impl Params {
    /// Reads `application/x-www-form-urlencoded`. Only `resource` may be repeated (RFC 8707 section 2).
    pub(super) fn from_form(body: &[u8]) -> Result<Self, OAuthError> {
        if body.trim_ascii_start().starts_with(b"{") {
            return Err(OAuthError::invalid_request(
                "the body is JSON, and its Content-Type says that it is a form: send Content-Type: application/json",
            ));
        }
        let body = str::from_utf8(body).map_err(|_| not_utf8())?;
        // Most forms are what they are, which is asked once and not of each text.
        let is_encoded = is_encoded(body);
        let decode = |text| {
            if is_encoded {
                decoded(text).map(Cow::Owned)
            } else {
                Ok(Cow::Borrowed(text))
            }
        };
        let mut params = Vec::with_capacity(MOST_PARAMS);
        for pair in body.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = Value::String(decode(value)?.into_owned());
            params.push((CompactString::from(decode(name)?), value));
        }
        sorted(params, |name| name == "resource").map_err(|name| repeated(&name))
    }

    /// Reads a JSON object.
    pub(super) fn from_json(body: &[u8]) -> Result<Self, OAuthError> {
        serde_json::from_slice(body).map_err(|error| {
            OAuthError::invalid_request(format!(
                "the body is no JSON object of parameters, as its Content-Type says: {}",
                redacted(&error.to_string())
            ))
        })
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(own, _)| by_name(own, name))
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let place = self.place(name).ok()?;
        Some(self.0.remove(place).1)
    }

    /// Takes a parameter that is one text.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, OAuthError> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
            Some(_) => Err(OAuthError::invalid_request(format!(
                "{name} must be one string"
            ))),
        }
    }

    /// Takes a parameter of JSON that is anything that fits; null counts as left out.
    pub(super) fn json<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, OAuthError> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value).map(Some).map_err(|error| {
                let error = redacted(&error.to_string());
                OAuthError::invalid_request(format!("{name} does not fit: {error}"))
            }),
        }
    }

    /// Refuses what nobody took: guessing what was meant would answer something else without a word.
    pub(super) fn nothing_else(&self) -> Result<(), OAuthError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let why = "there is a member that has no meaning here: leave it out";
        Err(OAuthError::invalid_request(why))
    }

    /// Whether a parameter of this name was sent.
    pub(super) fn has(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// Takes a parameter that is one text and goes by two names, of which only one may be sent.
    pub(super) fn text_also(
        &mut self,
        name: &'static str,
        other: &'static str,
    ) -> Result<Option<String>, OAuthError> {
        match (self.text(name)?, self.text(other)?) {
            (Some(_), Some(_)) => Err(repeated(name)),
            (first, second) => Ok(first.or(second)),
        }
    }

    /// Takes a parameter that may be several texts: repeated in a form, an array in JSON.
    pub(super) fn texts(&mut self, name: &'static str) -> Result<Vec<String>, OAuthError> {
        let wrong = || OAuthError::invalid_request(format!("{name} must be a string or strings"));
        let text = |value| match value {
            Value::String(text) => Ok(text),
            _ => Err(wrong()),
        };
        let mut texts = match self.take(name) {
            None | Some(Value::Null) => vec![],
            Some(Value::Array(values)) => values.into_iter().map(text).collect::<Result<_, _>>()?,
            Some(value) => vec![text(value)?],
        };
        texts.retain(|text| !text.is_empty());
        Ok(texts)
    }

    /// Takes scopes, mostly `scope`: separated by spaces (RFC 6749 section 3.3), or an array in JSON.
    pub(super) fn scope(&mut self, name: &'static str) -> Result<Option<ScopeSet>, OAuthError> {
        let scopes = match self.take(name) {
            Some(Value::Array(tokens)) => {
                let tokens = tokens
                    .iter()
                    .map(|token| token.as_str().unwrap_or_default());
                ScopeSet::from_tokens(tokens)
            }
            Some(Value::String(text)) => text.parse(),
            None | Some(Value::Null) => return Ok(None),
            Some(_) => {
                let expected = format!("{name} must be a string or an array of strings");
                return Err(OAuthError::invalid_request(expected));
            }
        };
        let scopes =
            scopes.map_err(|error| OAuthError::new(ErrorCode::InvalidScope, error.to_string()))?;
        Ok(Some(scopes).filter(|scopes| !scopes.is_empty()))
    }
}

/// Sorts them by name. What comes again makes a list of the first where a list is allowed; else it is an error, which has the
/// name.
fn sorted(
    mut params: Vec<(CompactString, Value)>,
    may_be_list: impl Fn(&str) -> bool,
) -> Result<Params, CompactString> {
    params.sort_by(|(one, _), (other, _)| by_name(one, other)); // stable: values stay as they came
    let mut repeated = None;
    params.dedup_by(|(name, value), (first_name, first)| {
        let is_again = name == first_name;
        if is_again && may_be_list(name) {
            match first {
                Value::Array(values) => values.push(value.take()),
                _ => *first = Value::Array(vec![first.take(), value.take()]),
            }
        } else if is_again {
            repeated.get_or_insert_with(|| name.clone());
        }
        is_again
    });
    repeated.map_or(Ok(Params(params)), Err)
}

/// First by length, which tells most names apart.
fn by_name(one: &str, other: &str) -> Ordering {
    let by_length = one.len().cmp(&other.len());
    by_length.then_with(|| one.cmp(other))
}

/// Whether it is not what it stands for. Most texts, and all tokens, are.
fn is_encoded(text: &str) -> bool {
    text.contains('+') || text.contains('%')
}

/// `+` is a space, `%XX` a byte; the bytes are UTF-8.
pub(super) fn form_decode(text: String) -> Result<String, OAuthError> {
    if is_encoded(&text) {
        decoded(&text)
    } else {
        Ok(text)
    }
}

fn decoded(text: &str) -> Result<String, OAuthError> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    Ok(decoded.map_err(|_| not_utf8())?.into_owned())
}

fn not_utf8() -> OAuthError {
    OAuthError::invalid_request("a parameter is not UTF-8: encode the body as UTF-8")
}

/// Names the parameter if it is one of OAuth's. Any other name is the caller's text, and may be a secret in the wrong
/// place.
fn repeated(name: &str) -> OAuthError {
    const KNOWN: [&str; 5] = [
        "grant_type",
        "client_id",
        "client_secret",
        "scope",
        "audience",
    ];
    let name = if KNOWN.contains(&name) {
        name
    } else {
        "a parameter"
    };
    OAuthError::invalid_request(format!("{name} is sent twice: send each parameter once"))
}

/// An object whose members are all different: of two values for one name, servers and proxies would each
/// choose another.
impl<'de> Deserialize<'de> for Params {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Params;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Params, A::Error> {
                let mut params = Vec::with_capacity(MOST_PARAMS);
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    params.push((name.into(), value));
                }
                sorted(params, |_| false)
                    .map_err(|_| de::Error::custom("a parameter is sent twice"))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use m2m::testing::{Change, meddled};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_form_is_decoded_as_browsers_encode_it() {
        let mut params = Params::from_form(b"a=x+y%2Bz&&b=&c&%64=%E2%82%AC&e=1=2").unwrap();
        assert_eq!(params.text("a").unwrap().as_deref(), Some("x y+z"));
        assert_eq!(params.text("b").unwrap(), None);
        assert_eq!(params.text("c").unwrap(), None);
        assert_eq!(params.text("d").unwrap().as_deref(), Some("€"));
        assert_eq!(params.text("e").unwrap().as_deref(), Some("1=2"));
    }

    #[test]
    fn only_resource_may_be_repeated() {
        let mut params = Params::from_form(b"resource=a&resource=b&resource=c").unwrap();
        assert_eq!(params.texts("resource").unwrap(), ["a", "b", "c"]);
        assert!(Params::from_form(b"scope=a&scope=b").is_err());
        assert!(Params::from_form(b"unknown=&unknown=").is_err());
        assert!(Params::from_json(br#"{"resource":"a","resource":"a"}"#).is_err());
    }

    #[test]
    fn json_and_form_say_the_same() {
        let mut json =
            Params::from_json(br#"{"scope":["b","a"],"resource":["x"],"n":null}"#).unwrap();
        let mut form = Params::from_form(b"scope=a+b&resource=x").unwrap();
        assert_eq!(json.scope("scope").unwrap(), form.scope("scope").unwrap());
        assert_eq!(
            json.texts("resource").unwrap(),
            form.texts("resource").unwrap()
        );
        assert_eq!(json.text("n").unwrap(), None);
    }

    #[test]
    fn what_has_the_wrong_type_is_refused_by_name() {
        for (body, name) in [
            (r#"{"p":1}"#, "p must be one string"),
            (r#"{"p":["a"]}"#, "p must be one string"),
            (r#"{"p":{}}"#, "p must be one string"),
        ] {
            let error = Params::from_json(body.as_bytes())
                .unwrap()
                .text("p")
                .unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        for body in [
            r#"{"scope":1}"#,
            r#"{"scope":["a b"]}"#,
            r#"{"scope":[1]}"#,
            r#"{"scope":"a  b"}"#,
        ] {
            assert!(
                Params::from_json(body.as_bytes())
                    .unwrap()
                    .scope("scope")
                    .is_err(),
                "{body}"
            );
        }
        for body in [
            "",
            "[]",
            "1",
            "null",
            "{",
            r#"{"a":1"#,
            "{} x",
            "\u{feff}{}",
        ] {
            assert!(Params::from_json(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn fuzz_a_form_that_is_taken_says_what_another_parser_reads() {
        let good = b"grant_type=client_credentials&resource=a&resource=b+c&scope=note.read+x%3Ay&client_id=%E2%82%AC";
        bolero::check!()
            .with_generator(bolero::produce::<Vec<Change>>().with().len(1_usize..6))
            .for_each(|changes| {
                let body = meddled(good, changes);
                let Ok(Params(params)) = Params::from_form(&body) else {
                    return;
                };
                let mut theirs = BTreeMap::<_, Vec<_>>::new();
                for (name, value) in url::form_urlencoded::parse(&body) {
                    theirs
                        .entry(name.into_owned())
                        .or_default()
                        .push(value.into_owned());
                }
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                let ours = params.into_iter().map(|(name, value)| match value {
                    Value::Array(values) => (name.into(), values.iter().map(text).collect()),
                    value => (name.into(), vec![text(&value)]),
                });
                assert_eq!(ours.collect::<BTreeMap<_, _>>(), theirs);
            });
    }

    #[test]
    fn fuzz_an_object_that_is_taken_has_no_name_twice() {
        let good = br#"{"grant_type": "client_credentials", "scope": ["a", "b"], "n": null, "\u0061": {"x": [1.5]}}"#;
        bolero::check!()
            .with_generator(bolero::produce::<Vec<Change>>().with().len(1_usize..6))
            .for_each(|changes| {
                let body = meddled(good, changes);
                let Ok(Params(params)) = Params::from_json(&body) else {
                    return;
                };
                let theirs: BTreeMap<String, Value> = serde_json::from_slice(&body).unwrap();
                let ours = params.into_iter().map(|(name, value)| (name.into(), value));
                assert_eq!(ours.collect::<BTreeMap<String, _>>(), theirs);
                let members = str::from_utf8(&body).unwrap().trim_start();
                for name in theirs.keys() {
                    let name = serde_json::to_string(name).unwrap();
                    let twice = format!("{{{name}: null, {}", &members[1..]);
                    assert!(Params::from_json(twice.as_bytes()).is_err(), "{twice}");
                }
            });
    }

    proptest! {
        #[test]
        fn what_a_client_encodes_is_what_the_server_reads(value in "\\PC{1,40}") {
            let body = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("p", &value)
                .finish();
            let mut params = Params::from_form(body.as_bytes()).unwrap();
            prop_assert_eq!(params.text("p").unwrap(), Some(value));
        }
    }
}
