//! Two workers against one. Servers may use both cores that the benchmark has, and the load has to share them, so that this is
//! a lower bound of what a second core brings.

use m2m::verify::Algorithm;

use super::{Stage, Token, token_request};
use crate::{
    report::Report,
    route::{Route, measure as compare},
    run,
};

pub(super) async fn measure(stage: &Stage<'_>, report: &mut Report) -> anyhow::Result<()> {
    let start = async |name: &str, workers| {
        let folder = stage.setting.folder().join(name);
        std::fs::create_dir(&folder)?;
        let mut place = stage.setting.everywhere();
        place.folder = &folder;
        let mut server = run::provider_in(place, &stage.policy, &[("WORKERS", workers)])?;
        server.ready(&stage.setting.http).await?;
        anyhow::Ok((server, folder))
    };
    let (one, one_folder) = start("one-worker", "1").await?;
    let (two, two_folder) = start("two-workers", "2").await?;
    for (algorithm, names) in [
        (
            Algorithm::ES256,
            ["issue, ES256, two workers", "issue, ES256, one worker"],
        ),
        (
            Algorithm::RS256,
            ["issue, RS256, two workers", "issue, RS256, one worker"],
        ),
    ] {
        let token = Token::Jwt(algorithm);
        let routes = [
            Route::new(names[0], &two, token_request(&two, &two_folder, token)?),
            Route::new(names[1], &one, token_request(&one, &one_folder, token)?),
        ];
        report.add(&compare(stage.setting, &routes).await?);
    }
    report.warn("cores: server and load share two cores".to_owned());
    Ok(())
}
