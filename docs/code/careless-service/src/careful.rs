use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header, errors::Result, jwk::JwkSet,
};

use crate::{Claims, Issuer, no_such_key};

/// Who calls? Says so if the issuer signed the token for this service, and it has not expired.
pub(crate) fn check(issuer: &Issuer, keys: &JwkSet, token: &str) -> Result<Claims> {
    let kid = decode_header(token)?.kid.ok_or_else(no_such_key)?;
    let key = keys.find(&kid).ok_or_else(no_such_key)?;
    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_issuer(&[issuer]);
    rules.set_audience(&["calendar-service"]);
    rules.set_required_spec_claims(&["iss", "exp", "aud"]);
    let verified = decode(token, &DecodingKey::from_jwk(key)?, &rules)?;
    Ok(verified.claims)
}
