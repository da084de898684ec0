//! One key of the issuer, and the one algorithm that it verifies.

/// A signature algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1). Only asymmetric ones: the issuer's keys
/// are public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// Ed25519.
    EdDSA,
}
