//! Envelope encryption: what is secret is sealed under a data key that is made for it alone, and the data key is wrapped by
//! a key-encryption key, which is not in the store.
//!
//! Both carry the place as associated data: the identity of the row. A value that was moved to another row does not open
//! there. A change of the key-encryption key rewraps the data keys and touches nothing else.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use crate::{
    kek::{KekError, KekId, KeyRing},
    random::random_bytes,
};

/// The length of all keys here, in bytes.
pub const KEY_LEN: usize = 32;

/// A sealed value, and what opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Which key-encryption key wrapped the data key.
    pub kek: KekId,
    /// The data key, wrapped.
    pub data_key: Vec<u8>,
    /// Nonce, ciphertext and tag of AES-256-GCM.
    pub sealed: Vec<u8>,
}

/// Why an envelope does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It was sealed for another place or with another key, or is damaged.
    #[error("what is sealed does not belong where it stands, or is damaged")]
    Mismatch,
    /// The key-encryption key cannot be asked just now.
    #[error(transparent)]
    Kek(#[from] KekError),
}

/// A data key that is wrapped already and has sealed nothing yet. With one at hand, sealing cannot fail: whoever is about to
/// get a secret that must not be lost has this first.
pub struct Sealer {
    kek: KekId,
    key: Zeroizing<[u8; KEY_LEN]>,
    data_key: Vec<u8>,
}

impl Sealer {
    /// Makes a data key and wraps it for `place`.
    ///
    /// # Errors
    /// When the key-encryption key cannot be used just now.
    pub async fn new(ring: &KeyRing, place: &[u8]) -> Result<Self, KekError> {
        let key = Zeroizing::new(random_bytes::<KEY_LEN>());
        let data_key = ring.wrap(&key, place).await?;
        Ok(Self {
            kek: ring.current().clone(),
            key,
            data_key,
        })
    }

    /// Seals `plain` for the same `place`.
    pub fn seal(self, plain: &[u8], place: &[u8]) -> Envelope {
        Envelope {
            sealed: seal_with(&cipher(&self.key), plain, place),
            kek: self.kek,
            data_key: self.data_key,
        }
    }
}

/// Seals `plain` for `place`, under a new data key.
///
/// # Errors
/// When the key-encryption key cannot be used just now.
pub async fn seal(ring: &KeyRing, plain: &[u8], place: &[u8]) -> Result<Envelope, KekError> {
    Ok(Sealer::new(ring, place).await?.seal(plain, place))
}

/// Opens what [`seal`] made for the same place.
///
/// # Errors
/// When it was made for another place, is damaged, or the key-encryption key cannot be asked.
pub async fn open(
    ring: &KeyRing,
    envelope: &Envelope,
    place: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let key = ring
        .unwrap(&envelope.kek, &envelope.data_key, place)
        .await?;
    open_with(&cipher(&key), &envelope.sealed, place).ok_or(OpenError::Mismatch)
}

/// AES-256-GCM with this key. Nonces are random: one key may seal 2^32 values (NIST SP 800-38D section 8.3). A data key
/// seals one; a key-encryption key one for each store and refresh.
pub(crate) fn cipher(key: &[u8; KEY_LEN]) -> RandomizedNonceKey {
    RandomizedNonceKey::new(&AES_256_GCM, key).expect("the key is 32 bytes long")
}

pub(crate) fn seal_with(cipher: &RandomizedNonceKey, plain: &[u8], place: &[u8]) -> Vec<u8> {
    // The buffer becomes ciphertext in place. Room for the tag: growing would leave the plain text behind.
    let mut sealed = Vec::with_capacity(plain.len() + 16);
    sealed.extend_from_slice(plain);
    let nonce = cipher
        .seal_in_place_append_tag(Aad::from(place), &mut sealed)
        .expect("a token is far shorter than what AES-GCM can seal");
    [nonce.as_ref().as_slice(), &sealed].concat()
}

pub(crate) fn open_with(
    cipher: &RandomizedNonceKey,
    sealed: &[u8],
    place: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = Zeroizing::new(text.to_vec());
    let opened = cipher
        .open_in_place(nonce, Aad::from(place), &mut text)
        .ok()?
        .len();
    text.truncate(opened);
    Some(text)
}
