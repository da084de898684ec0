//! Documents that do not change: the key set and the metadata, against an answer of as many bytes.

use super::Stage;
use crate::{
    report::Report,
    route::{Route, measure as compare},
    wrk::Request,
};

const GOAL: f64 = 0.9;

const DOCUMENTS: [(&str, &str, &str); 2] = [
    (
        "/auth/jwt/jwks.json",
        "key set",
        "floor: as many bytes (key set)",
    ),
    (
        "/.well-known/oauth-authorization-server/auth",
        "metadata",
        "floor: as many bytes (metadata)",
    ),
];

pub(super) async fn measure(stage: &Stage<'_>, report: &mut Report) -> anyhow::Result<()> {
    for (path, name, floor) in DOCUMENTS {
        let document = Request::get(stage.provider.url(path));
        let length = document.once(&stage.setting.http).await?.len();
        let bytes = Request::get(stage.floor.url(&format!("/bytes/{length}")));
        let routes = [
            Route::new(name, &stage.provider, document),
            Route::new(floor, &stage.floor, bytes).goal(GOAL),
        ];
        report.add(&compare(stage.setting, &routes).await?);
    }
    Ok(())
}
