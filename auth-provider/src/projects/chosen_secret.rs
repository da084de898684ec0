//! A secret that a client brings along from elsewhere.

use std::{collections::BTreeSet, ops::RangeInclusive};

use serde::Deserialize;

use crate::client::Secret;

/// Only the SHA-256 of a secret is kept, which protects what cannot be guessed: this one looks as if somebody had drawn it
/// at random.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct ChosenSecret(Secret);

/// The bounds of a [`ChosenSecret`], in characters.
const LENGTH: RangeInclusive<usize> = 32..=256;

/// So many different characters it has at least, and so many different distances between neighbours: repetitions have
/// few of the first, and alphabets and counting few of the second. Random digits of hexadecimal have more of both.
const VARIETY: usize = 10;

impl TryFrom<String> for ChosenSecret {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let bytes = text.as_bytes();
        if !LENGTH.contains(&bytes.len()) || !bytes.iter().all(u8::is_ascii_graphic) {
            return Err("write 32 to 256 visible ASCII characters, or leave it out");
        }
        let different: BTreeSet<u8> = bytes.iter().copied().collect();
        let distances = bytes.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
        let distances: BTreeSet<u8> = distances.collect();
        if different.len() < VARIETY || distances.len() < VARIETY {
            return Err("write characters drawn at random, or leave it out: this is easy to guess");
        }
        Ok(Self(Secret::from(text)))
    }
}

impl ChosenSecret {
    /// The secret itself.
    pub fn secret(&self) -> Secret {
        Secret::from(self.0.expose().to_owned())
    }
}

impl Clone for ChosenSecret {
    fn clone(&self) -> Self {
        Self(self.secret())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_secret_looks_as_if_drawn_at_random() {
        for good in [
            "NHQhc7ZqsXJVtgmN2MXr1etqsQrGAwJ-iBWNLKY7DzJj",
            "5f2a9c01d7e84b36a0c59f1e2d8b7346",
            "6d1b8f0e-3c57-4a92-b8e4-0f7d2c91a653",
        ] {
            assert!(ChosenSecret::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "NHQhc7ZqsXJVtgmN2MXr1etqsQrGAwJ", // 31
            "a secret with spaces and 40 characters..",
            "sécrèt-sécrèt-sécrèt-sécrèt-sécrèt",
            "abcdefghijklmnopqrstuvwxyz0123456789",
            "01234567890123456789012345678901",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "abcabcabcabcabcabcabcabcabcabcabcabc",
            &"5f2a9c01d7e84b36".repeat(17), // 272
        ] {
            assert!(ChosenSecret::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
