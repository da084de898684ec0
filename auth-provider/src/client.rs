//! A client: a machine with an identity, the credentials that prove it, and the grants that it holds.

use std::{
    cell::RefCell,
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

use aws_lc_rs::{constant_time, digest, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use compact_str::CompactString;
use m2m::{ScopeSet, verify::Algorithm};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::{
    explain,
    resource::{ResourceId, TokenFormat, TokenProfile},
};

/// The name that a client authenticates with (RFC 6749 section 2.2): 1 to 128 characters that no encoding
/// changes, since some clients form-encode Basic credentials and some send them raw. `.` and `..` are no names: a URL
/// with them means another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct ClientId(CompactString);

/// A text that cannot be a client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a client id is 1 to 128 characters of A-Z a-z 0-9 . _ ~ - and not . or ..")]
pub struct InvalidClientId;

impl ClientId {
    pub fn parse(text: &str) -> Result<Self, InvalidClientId> {
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"._~-".contains(&b);
        let moves = matches!(text, "." | "..");
        if (1..=128).contains(&text.len()) && text.bytes().all(unreserved) && !moves {
            Ok(Self(text.into()))
        } else {
            Err(InvalidClientId)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ClientId {
    type Error = InvalidClientId;

    fn try_from(text: String) -> Result<Self, InvalidClientId> {
        Self::parse(&text)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a credential: 128 random bits. Each token's `jti` begins with it, so that what was obtained with
/// one credential can be recognised.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CredentialId([u8; 22]);

impl CredentialId {
    pub fn generate() -> Self {
        Self::parse(&random_id()).expect("a random id is such a name")
    }

    /// The name that is written so; `None` for what no credential is called.
    pub fn parse(text: &str) -> Option<Self> {
        let name: [u8; 22] = text.as_bytes().try_into().ok()?;
        let random_id = |b: &u8| b.is_ascii_alphanumeric() || b"-_".contains(b);
        name.iter().all(random_id).then_some(Self(name))
    }

    /// A fresh `jti` for a token that is obtained with this credential.
    pub fn token_id(&self) -> String {
        let mut id = String::with_capacity(2 * self.0.len() + 1);
        id.push_str(self.as_str());
        id.push('.');
        URL_SAFE_NO_PAD.encode_string(random_name(), &mut id);
        id
    }

    /// The credential that the token with this `jti` was obtained with.
    pub fn of_token(jti: &str) -> Option<Self> {
        let (credential, _) = jti.split_once('.')?;
        Self::parse(credential)
    }

    pub fn as_bytes(&self) -> &[u8; 22] {
        &self.0
    }

    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("a name that is not ASCII was never let in")
    }
}

impl fmt::Debug for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CredentialId").field(&self.as_str()).finish()
    }
}

/// Whether a client may authenticate at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientStatus {
    Active,
    Inactive,
}

impl ClientStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
        }
    }

    /// The status of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Active, Self::Inactive]
            .into_iter()
            .find(|status| status.as_str() == name)
    }
}

/// All that a token request needs to know of one client, read in one step. Of a million clients these are in memory:
/// each byte counts.
#[derive(Clone, Debug)]
pub struct ClientRecord {
    pub id: ClientId,
    pub status: ClientStatus,
    pub credentials: Box<[Credential]>,
    pub grants: Grants,
    /// The resources whose tokens this client may ask about: it is their resource server.
    pub owns: Box<[ResourceId]>,
}

impl ClientRecord {
    /// The living credential whose secret was presented.
    pub fn accepts(&self, presented: &SecretHash, now: u64) -> Option<&Credential> {
        let active = self.status == ClientStatus::Active;
        let mut credentials = self.credentials.iter().filter(|_| active);
        credentials.find(|credential| credential.accepts(presented, now))
    }

    /// Why a secret that the client does not [accept](Self::accepts) is refused: a code and a sentence.
    pub fn refuses(&self, presented: &SecretHash) -> (&'static str, String) {
        let id = &self.id;
        let known = |credential: &Credential| credential.secret.matches(presented);
        if self.status == ClientStatus::Inactive {
            let why = explain::inactive(id);
            (why.code, why.sentence)
        } else if let Some(credential) = self.credentials.iter().find(|c| known(c)) {
            let ended = credential.expires_at.unwrap_or_default();
            let credential = credential.id.as_str();
            let why = format!("the credential {credential} of {id} ended at {ended}");
            ("credential_expired", why)
        } else {
            let why = format!("the secret that was presented for {id} is none of its secrets");
            ("wrong_secret", why)
        }
    }

    /// Whether the client holds a grant for `resource` with `scope`.
    pub fn may(&self, resource: &str, scope: &str, now: u64) -> bool {
        self.grants.iter().any(|grant| {
            grant.resource.as_str() == resource
                && grant.scopes.contains(scope)
                && grant.is_alive(now)
        })
    }

    /// Whether any credential lives with which the client could prove who it is.
    pub fn can_authenticate(&self, now: u64) -> bool {
        let mut credentials = self.credentials.iter();
        self.status == ClientStatus::Active
            && credentials.any(|credential| credential.is_alive(now))
    }
}

/// What a credential is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialKind {
    /// A client secret: with its client's id it opens every endpoint, alone it is an API key.
    #[default]
    Secret,
    /// A bearer by itself, which a service starts with. It ends, and is good for one purpose: no [`ClientRecord`] has
    /// it, so that no secret can be mistaken for it.
    Bootstrap,
}

impl CredentialKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Bootstrap => "bootstrap",
        }
    }

    /// The kind of this name.
    pub fn parse(name: &str) -> Option<Self> {
        let mut all = [Self::Secret, Self::Bootstrap].into_iter();
        all.find(|kind| kind.as_str() == name)
    }
}

/// One way for a client to prove who it is.
#[derive(Clone, Debug)]
pub struct Credential {
    pub id: CredentialId,
    pub secret: SecretHash,
    /// Seconds since the epoch; `None` lives until it is removed.
    pub expires_at: Option<u64>,
}

impl Credential {
    fn is_alive(&self, now: u64) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    fn accepts(&self, presented: &SecretHash, now: u64) -> bool {
        self.is_alive(now) && self.secret.matches(presented)
    }
}

/// The grants of a client. Their clones are one list, so that clients with equal grants can share it.
#[derive(Clone, Debug, Default)]
pub struct Grants(Arc<GrantList>);

#[derive(Debug, Default)]
struct GrantList {
    grants: Vec<Grant>,
    shared: bool,
}

impl Grants {
    /// Says for good that more than one client may have this list.
    #[must_use]
    pub fn to_be_shared(mut self) -> Self {
        if let Some(list) = Arc::get_mut(&mut self.0) {
            list.shared = true;
        }
        self
    }

    /// Whether that was said.
    pub fn are_shared(&self) -> bool {
        self.0.shared
    }

    /// Whether anybody else has this list.
    pub fn are_held_elsewhere(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl FromIterator<Grant> for Grants {
    fn from_iter<T: IntoIterator<Item = Grant>>(grants: T) -> Self {
        let grants = grants.into_iter().collect();
        let shared = false;
        Self(Arc::new(GrantList { grants, shared }))
    }
}

impl Deref for Grants {
    type Target = [Grant];

    fn deref(&self) -> &[Grant] {
        &self.0.grants
    }
}

impl PartialEq for Grants {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Grants {}

impl Hash for Grants {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

/// One arrow: this client may call `resource` with `scopes`. Its resource's limits are folded in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    pub resource: ResourceId,
    pub scopes: ScopeSet,
    pub token_format: TokenFormat,
    pub token_profile: TokenProfile,
    /// Whether something of the client's metadata stands in the tokens. What, the store knows: few resources have it,
    /// and here it would take room for all.
    pub has_metadata_claims: bool,
    /// How long a token from this grant lives, in seconds.
    pub token_lifetime: u64,
    /// What the resource wants its tokens signed with.
    pub signing_alg: Algorithm,
    /// From this second on the grant is void.
    pub expires_at: Option<u64>,
}

impl Grant {
    /// Whether it has not ended yet.
    pub fn is_alive(&self, now: u64) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// A client secret in the clear: it exists while it is made, shown once, or presented.
pub struct Secret(SecretString);

const SECRET_PREFIX: &str = "m2m_";

const BOOTSTRAP_PREFIX: &str = "m2mb_";

impl Secret {
    pub fn generate() -> Self {
        Self::of_kind(CredentialKind::Secret)
    }

    /// A new one, whose beginning says what it is good for.
    pub fn of_kind(kind: CredentialKind) -> Self {
        let prefix = match kind {
            CredentialKind::Secret => SECRET_PREFIX,
            CredentialKind::Bootstrap => BOOTSTRAP_PREFIX,
        };
        Self(unguessable(prefix).into())
    }

    pub fn hash(&self) -> SecretHash {
        SecretHash::of(self.expose())
    }

    /// By which a person recognises it in a list.
    pub fn last_four(&self) -> String {
        let secret = self.expose();
        secret[secret.len() - 4..].to_owned()
    }

    /// The secret itself, for the one place that hands it to its owner.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The SHA-256 of a secret. A generated secret has 256 bits of entropy, so that a slow password hash would
/// protect nothing and only burn time.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    pub fn of(secret: &str) -> Self {
        Self::of_bytes(secret.as_bytes())
    }

    pub fn of_bytes(secret: &[u8]) -> Self {
        Self::from_stored(digest::digest(&digest::SHA256, secret).as_ref())
            .expect("SHA-256 has 32 bytes")
    }

    /// A hash in hexadecimal, as `sha256sum` writes it. `None` when it is none.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digit = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return None;
        };
        let bytes: Option<Vec<u8>> = pairs
            .iter()
            .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
            .collect();
        Self::from_stored(&bytes?)
    }

    /// `None` when it is not 32 bytes long.
    pub fn from_stored(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// Whether a text can only be a client secret, made by [`Secret::generate`].
pub fn is_secret(text: &str) -> bool {
    is_well_formed(text, SECRET_PREFIX)
}

/// `prefix`, 256 random bits, and six characters of checksum, all within `[A-Za-z0-9_-]`. Prefix and checksum let
/// a scanner recognise for certain what has leaked.
pub fn unguessable(prefix: &str) -> String {
    let random = URL_SAFE_NO_PAD.encode(random_bytes::<32>());
    format!("{prefix}{random}{}", checksum(&random))
}

/// Whether a text can have been made by [`unguessable`].
pub fn is_well_formed(text: &str, prefix: &str) -> bool {
    let parts = text
        .strip_prefix(prefix)
        .and_then(|rest| rest.split_at_checked(43));
    parts.is_some_and(|(random, sum)| sum == checksum(random))
}

fn checksum(random: &str) -> String {
    let hash = digest::digest(&digest::SHA256, random.as_bytes());
    let mut sum = URL_SAFE_NO_PAD.encode(hash);
    sum.truncate(6);
    sum
}

/// Bytes from the system's random generator: the one place where randomness enters.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system's random generator does not fail once it is seeded");
    bytes
}

/// 128 random bits that need not be kept secret. Each token takes some, and the generator makes many of them for little
/// more than the price of one.
fn random_name() -> [u8; 16] {
    thread_local! {
        static NAMES: RefCell<Vec<[u8; 16]>> = RefCell::default();
    }
    NAMES.with_borrow_mut(|names| {
        if names.is_empty() {
            names.extend(random_bytes::<512>().as_chunks().0);
        }
        names.pop().expect("there are some now")
    })
}

/// A random name of 128 bits, for a `jti` or a credential.
pub fn random_id() -> String {
    URL_SAFE_NO_PAD.encode(random_bytes::<16>())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_client_id_survives_every_encoding() {
        for good in ["assistant", "m1", "a.b_c~d-E9", "...", &"x".repeat(128)] {
            assert_eq!(ClientId::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "a b",
            "a:b",
            "a%62",
            "a+b",
            "é",
            "a\n",
            "a/b",
            ".",
            "..",
            &"x".repeat(129),
        ] {
            assert_eq!(ClientId::parse(bad), Err(InvalidClientId), "{bad:?}");
        }
    }

    #[test]
    fn secrets_are_long_never_repeat_and_keep_to_one_alphabet() {
        let mut seen = HashSet::new();
        for _ in 0..1000 {
            let secret = Secret::generate();
            let text = secret.expose();
            assert_eq!(text.len(), 4 + 43 + 6);
            assert!(
                text.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)),
                "{text}"
            );
            assert!(seen.insert(text.to_owned()));
            assert!(secret.hash().matches(&SecretHash::of(text)));
        }
    }

    #[test]
    fn a_hash_is_read_as_sha256sum_writes_it() {
        let hex = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        for text in [hex, &hex.to_uppercase()] {
            assert!(
                SecretHash::from_hex(text)
                    .unwrap()
                    .matches(&SecretHash::of("hello"))
            );
        }
        for bad in [
            "",
            "hello",
            &hex[1..],
            &hex[2..],
            &format!("{hex}00"),
            &hex.replace('2', "g"),
        ] {
            assert!(SecretHash::from_hex(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_expired_credential_and_an_inactive_client_open_nothing() {
        let secret = SecretHash::of("right");
        let credential = Credential {
            id: CredentialId::generate(),
            secret,
            expires_at: Some(100),
        };
        let mut client = ClientRecord {
            id: ClientId::parse("c").unwrap(),
            status: ClientStatus::Active,
            credentials: [credential].into(),
            grants: Grants::default(),
            owns: Box::default(),
        };
        assert!(client.accepts(&SecretHash::of("right"), 99).is_some());
        assert!(client.accepts(&SecretHash::of("right"), 100).is_none());
        assert!(client.accepts(&SecretHash::of("wrong"), 99).is_none());
        client.status = ClientStatus::Inactive;
        assert!(client.accepts(&SecretHash::of("right"), 99).is_none());
    }
}
