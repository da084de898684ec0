//! A key set (RFC 7517 section 5): what could be used of it.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::key::Key;

/// The usable keys of an issuer.
#[derive(PartialEq)]
pub(super) struct KeySet {
    /// By their `kid`.
    keys: HashMap<String, Key>,
    /// For the log: the keys that cannot be used, by their place in the document, and why.
    pub(super) skipped: Vec<(usize, &'static str)>,
}

impl KeySet {
    /// Reads a key set, key by key: one that is broken or unknown is skipped and does not spoil the
    /// others (RFC 7517 section 5). Of two keys with one `kid` the first counts, so that a key has
    /// one algorithm.
    pub(super) fn read(json: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let mut set = Self {
            keys: HashMap::new(),
            skipped: Vec::new(),
        };
        for (place, jwk) in serde_json::from_slice::<Document>(json)?
            .keys
            .iter()
            .enumerate()
        {
            match Key::from_jwk(jwk) {
                Ok(key) if set.keys.contains_key(&key.id) => {
                    set.skipped.push((place, "another key has the same kid"));
                }
                Ok(key) => drop(set.keys.insert(key.id.clone(), key)),
                Err(reason) => set.skipped.push((place, reason)),
            }
        }
        Ok(set)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Key> {
        self.keys.get(id)
    }

    /// For the log: which keys these are.
    pub(super) fn summary(&self) -> String {
        let ids: Vec<_> = self.keys.keys().map(String::as_str).collect();
        format!("the keys {ids:?}")
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_that_is_of_no_use_does_not_spoil_the_others() {
        let good = json!({
            "kty": "EC", "crv": "P-256", "kid": "good", "alg": "ES256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        });
        let set = json!({"keys": [
            {"kty": "AKP", "kid": "post-quantum"},
            {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"},
            {"kty": 1, "kid": ["x"]},
            null,
            good.clone(),
            good,
        ], "more": {}});
        let set = KeySet::read(set.to_string().as_bytes()).unwrap();
        assert_eq!(set.keys.keys().collect::<Vec<_>>(), ["good"]);
        let skipped: Vec<_> = set.skipped.iter().map(|(place, _)| *place).collect();
        assert_eq!(skipped, [0, 1, 2, 3, 5]);
    }

    #[test]
    fn what_is_no_key_set_is_an_error_and_an_empty_one_is_not() {
        for text in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"keys":null}"#,
            r#"{"keys":{}}"#,
            "<html>",
        ] {
            assert!(KeySet::read(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(KeySet::read(br#"{"keys":[]}"#).unwrap().is_empty());
    }
}
