//! What a token is worth, asked again and again: of a JWT, and of opaque tokens that are held in memory, SQLite and
//! PostgreSQL. The floor finds each in a map, and answers the same.

use std::path::Path;

use m2m::verify::Algorithm;

use super::{OWNER, Stage, Token, access_token, token_request};
use crate::{
    floor::{self, Lesson},
    report::Report,
    route::{Route, measure as compare},
    run,
    server::Server,
    wrk::Request,
};

const GOAL_JWT: f64 = 0.9;
const GOAL_OPAQUE: f64 = 0.8;

pub(super) async fn measure(stage: &Stage<'_>, report: &mut Report) -> anyhow::Result<()> {
    let here = (&stage.provider, stage.setting.folder());
    let jwt = Token::Jwt(Algorithm::ES256);
    let (product, floor) = requests(stage, here, jwt).await?;
    let routes = [
        Route::new("introspect a JWT", here.0, product),
        Route::new("floor: secret, map, answer (JWT)", &stage.floor, floor).goal(GOAL_JWT),
    ];
    report.add(&compare(stage.setting, &routes).await?);

    let memory = [("DATABASE_URL", "sqlite::memory:")];
    let memory = stage.provider_with("memory", &memory).await?;
    let there = (&memory.server, memory.folder.as_path());
    opaque(
        stage,
        report,
        "introspect an opaque token, in memory",
        there,
    )
    .await?;
    opaque(stage, report, "introspect an opaque token, in SQLite", here).await?;
    let Some(url) = &stage.options.database_url else {
        report.warn("left out without TEST_POSTGRES_URL: opaque tokens in PostgreSQL".to_owned());
        return Ok(());
    };
    let postgres = [("DATABASE_URL", url.as_str())];
    let postgres = stage.provider_with("postgres", &postgres).await?;
    let there = (&postgres.server, postgres.folder.as_path());
    opaque(
        stage,
        report,
        "introspect an opaque token, in PostgreSQL",
        there,
    )
    .await
}

async fn opaque(
    stage: &Stage<'_>,
    report: &mut Report,
    name: &'static str,
    provider: (&Server, &Path),
) -> anyhow::Result<()> {
    let (product, floor) = requests(stage, provider, Token::Opaque).await?;
    let routes = [
        Route::new(name, provider.0, product),
        Route::new("floor: secret, map, answer (opaque)", &stage.floor, floor).goal(GOAL_OPAQUE),
    ];
    report.add(&compare(stage.setting, &routes).await?);
    Ok(())
}

/// The question about a new token, to this provider and to the floor, which learns the answer.
pub(super) async fn requests(
    stage: &Stage<'_>,
    (provider, folder): (&Server, &Path),
    token: Token,
) -> anyhow::Result<(Request, Request)> {
    let http = &stage.setting.http;
    let token = access_token(&token_request(provider, folder, token)?.once(http).await?)?;
    let owner = run::entry(folder, OWNER)?;
    let form = format!("token={token}");
    let product = Request::post_form(provider.url("/auth/oauth/introspect"), form.clone())
        .basic_auth(&owner.client_id, &owner.client_secret);
    let answer = serde_json::from_str(&product.once(http).await?)?;
    let lesson = Lesson {
        token,
        key_set: None,
        answer: Some(answer),
    };
    stage.teach_floor(&lesson).await?;
    let floor = Request::post_form(stage.floor.url("/introspect"), form)
        .basic_auth(floor::CLIENT_ID, floor::CLIENT_SECRET);
    Ok((product, floor))
}
