//! What it costs that each token waits until its audit event is on disk, beside events that are written in batches and no
//! events of tokens at all, and how long that disk takes. One sync serves all who wait for it, so that the more there are,
//! the less the disk matters.

use m2m::verify::Algorithm;

use super::{SUMMED, Stage, Token, token_request};
use crate::{
    machine,
    report::Report,
    route::{Route, measure as compare},
};

const GOAL: f64 = 0.8;

/// Connections enough to keep a core busy while most of them wait for a disk.
const MANY: u32 = 256;

pub(super) async fn measure(stage: &Stage<'_>, report: &mut Report) -> anyhow::Result<()> {
    let strict = [("AUDIT_DURABILITY", "strict")];
    let strict = stage.provider_with("strict", &strict).await?;
    let summed = stage.provider_with("summed", &[SUMMED]).await?;
    let token = Token::Jwt(Algorithm::ES256);
    let without = token_request(&summed.server, &summed.folder, token)?;
    let durable = token_request(&strict.server, &strict.folder, token)?;
    let batched = stage.token_request(token)?;
    let few = [
        Route::new(
            "issue, ES256, durable audit",
            &strict.server,
            durable.clone(),
        ),
        Route::new(
            "issue, ES256, audit in batches",
            &stage.provider,
            batched.clone(),
        )
        .goal(GOAL),
        Route::new(
            "issue, ES256, no events of tokens",
            &summed.server,
            without.clone(),
        )
        .goal(GOAL),
    ];
    let many = [
        Route::new(
            "issue, ES256, durable audit, 256 connections",
            &strict.server,
            durable.over(MANY),
        ),
        Route::new(
            "the same in batches, 256 connections",
            &stage.provider,
            batched.over(MANY),
        )
        .goal(GOAL),
        Route::new(
            "the same without events of tokens, 256 connections",
            &summed.server,
            without.over(MANY),
        )
        .goal(GOAL),
    ];
    for routes in [few, many] {
        report.add(&compare(stage.setting, &routes).await?);
    }
    let sync = machine::sync_milliseconds(stage.setting.folder())?;
    report.fact("disk: a small write until it is durable", sync, "ms", None);
    Ok(())
}
