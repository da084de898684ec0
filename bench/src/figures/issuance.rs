//! Tokens a second, by algorithm. RSA is compared with what one core signs when it does nothing else, since the signature is
//! nearly all of it; the fast algorithms with the floor. Each once as the product is by default, and once without events of tokens
//! in its audit log, since the floor has none.

use m2m::verify::Algorithm;

use super::{SUMMED, Stage, Token, token_request};
use crate::{
    report::Report,
    route::{Route, measure as compare},
};

const GOAL: f64 = 0.9;

pub(super) async fn measure(stage: &Stage<'_>, report: &mut Report) -> anyhow::Result<()> {
    let issue = |name, algorithm| {
        let request = stage.token_request(Token::Jwt(algorithm))?;
        anyhow::Ok(Route::new(name, &stage.provider, request))
    };
    let summed = stage.provider_with("issuing-summed", &[SUMMED]).await?;
    let without_events = |name, algorithm| {
        let request = token_request(&summed.server, &summed.folder, Token::Jwt(algorithm))?;
        anyhow::Ok(Route::new(name, &summed.server, request))
    };
    let floor = |name, algorithm| {
        let request = stage.floor_token_request(algorithm);
        Route::new(name, &stage.floor, request)
    };
    let raw = || Route::signatures("raw signatures on one core, RS256", Algorithm::RS256);
    let rs256 = [
        issue("issue a token, RS256", Algorithm::RS256)?,
        raw().goal(GOAL),
        floor("floor: secret, signature, RS256", Algorithm::RS256),
    ];
    let es256 = [
        issue("issue a token, ES256", Algorithm::ES256)?,
        floor("floor: secret, signature, ES256", Algorithm::ES256).goal(GOAL),
    ];
    let eddsa = [
        issue("issue a token, EdDSA", Algorithm::EdDSA)?,
        floor("floor: secret, signature, EdDSA", Algorithm::EdDSA).goal(GOAL),
    ];
    let rs256_without = [
        without_events("issue, RS256, no events of tokens", Algorithm::RS256)?,
        raw().goal(GOAL),
        floor("floor: secret, signature, RS256", Algorithm::RS256),
    ];
    let es256_without = [
        without_events("issue, ES256, no events of tokens", Algorithm::ES256)?,
        floor("floor: secret, signature, ES256", Algorithm::ES256).goal(GOAL),
    ];
    let eddsa_without = [
        without_events("issue, EdDSA, no events of tokens", Algorithm::EdDSA)?,
        floor("floor: secret, signature, EdDSA", Algorithm::EdDSA).goal(GOAL),
    ];
    for routes in [
        &rs256[..],
        &es256,
        &eddsa,
        &rs256_without,
        &es256_without,
        &eddsa_without,
    ] {
        report.add(&compare(stage.setting, routes).await?);
    }
    Ok(())
}
