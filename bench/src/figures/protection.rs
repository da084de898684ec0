//! What protection costs a service: with a token that it has seen before, and with tokens that it has not.
//!
//! The tokens are issued beforehand, more of them than fit into one sample, and the service starts anew before each sample, so
//! that it meets each token for the first time. It follows the issuer's revocations, as it does by default.

use std::{fs, path::Path, path::PathBuf};

use anyhow::ensure;
use futures_util::{StreamExt, TryStreamExt, stream};
use m2m::verify::Algorithm;
use serde_json::Value;

use super::{Stage, Token, access_token};
use crate::{
    floor::Lesson,
    report::{Measured, Report},
    route::{Route, measure as compare},
    run,
    wrk::{CONNECTIONS, Request},
};

const GOAL_REPEATED: f64 = 0.85;
const GOAL_NEW: f64 = 0.9;

/// How many more tokens there are than the floor verifies in one sample: nobody should be so much faster.
const SPARE: f64 = 1.25;

/// The names of the service's and the floor's route.
const NEW: [(Algorithm, [&str; 2]); 3] = [
    (
        Algorithm::ES256,
        [
            "protected route, new tokens, ES256",
            "floor: verify, answer, ES256",
        ],
    ),
    (
        Algorithm::RS256,
        [
            "protected route, new tokens, RS256",
            "floor: verify, answer, RS256",
        ],
    ),
    (
        Algorithm::EdDSA,
        [
            "protected route, new tokens, EdDSA",
            "floor: verify, answer, EdDSA",
        ],
    ),
];

pub(super) async fn measure(stage: &Stage<'_>, report: &mut Report) -> anyhow::Result<()> {
    repeated(stage, report).await?;
    for (algorithm, names) in NEW {
        new(stage, report, algorithm, names).await?;
    }
    Ok(())
}

async fn repeated(stage: &Stage<'_>, report: &mut Report) -> anyhow::Result<()> {
    let of = Token::Jwt(Algorithm::ES256);
    let token = stage.token(of).await?;
    let mut calendar = run::calendar(stage.setting, &stage.provider, of.resource())?;
    calendar.ready(&stage.setting.http).await?;
    let protected = Request::get(calendar.url("/event")).bearer(&token);
    let open = Request::get(calendar.url("/health"));
    // A token must be sent and read, whatever is done with it.
    let floor = Request::get(stage.floor.url("/event")).bearer(&token);
    let routes = [
        Route::new("protected route, repeated token", &calendar, protected),
        Route::new("open route of the same program", &calendar, open).goal(GOAL_REPEATED),
        Route::new("floor: the same list, open", &stage.floor, floor),
    ];
    report.add(&compare(stage.setting, &routes).await?);
    Ok(())
}

async fn new(
    stage: &Stage<'_>,
    report: &mut Report,
    algorithm: Algorithm,
    names: [&'static str; 2],
) -> anyhow::Result<()> {
    let setting = stage.setting;
    let seconds = setting.plan().seconds;
    let of = Token::Jwt(algorithm);
    let (url, token) = (stage.floor.url("/verified"), stage.token(of).await?);
    let lesson = Lesson {
        token: token.clone(),
        key_set: Some(key_set(stage).await?),
        answer: None,
    };
    stage.teach_floor(&lesson).await?;

    // The floor remembers nothing: one token is as good as many to see how many it verifies.
    let one = Route::new(
        names[1],
        &stage.floor,
        Request::get(url.clone()).bearer(&token),
    );
    let speed = one.sample(setting, 1).await?.requests_per_second;
    let many = speed * f64::from(seconds) * SPARE;
    eprintln!("issuing {many:.0} tokens, {} …", algorithm.name());
    let file = issue(stage, of, many).await?;

    let floor = Request::get(url).with_tokens_of(&file);
    let floor = Route::new(names[1], &stage.floor, floor).goal(GOAL_NEW);
    let mut product_measured = Measured {
        name: names[0],
        goal: None,
        samples: Vec::new(),
    };
    let mut floor_measured = floor.measured();
    for round in 1..=setting.plan().rounds {
        eprintln!("round {round} of {} …", setting.plan().rounds);
        let mut calendar = run::calendar(setting, &stage.provider, of.resource())?;
        calendar.ready(&setting.http).await?;
        let product = Request::get(calendar.url("/event")).with_tokens_of(&file);
        let product = Route::new(names[0], &calendar, product);
        let sample = product.sample(setting, seconds).await?;
        let sent = sample.requests_per_second * f64::from(seconds) + f64::from(CONNECTIONS);
        if sent > many {
            let repeated = (1.0 - many / sent) * 100.0;
            report.warn(format!(
                "`{}`: {repeated:.0} % of the tokens were not new",
                names[0]
            ));
        }
        product_measured.samples.push(sample);
        let sample = floor.sample(setting, seconds).await?;
        floor_measured.samples.push(sample);
    }
    report.add(&[product_measured, floor_measured]);
    fs::remove_file(file)?;
    Ok(())
}

async fn key_set(stage: &Stage<'_>) -> anyhow::Result<Value> {
    let request = Request::get(stage.provider.url("/auth/jwt/jwks.json"));
    Ok(serde_json::from_str(
        &request.once(&stage.setting.http).await?,
    )?)
}

/// Has so many tokens issued, and writes them into a file that nobody else can read.
async fn issue(stage: &Stage<'_>, of: Token, many: f64) -> anyhow::Result<PathBuf> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of tokens"
    )]
    let many = many as usize;
    let request = stage.token_request(of)?;
    let tokens: Vec<String> = stream::iter(0..many)
        .map(|_| async { access_token(&request.once(&stage.setting.http).await?) })
        .buffer_unordered(usize::try_from(CONNECTIONS)?)
        .try_collect()
        .await?;
    ensure!(tokens.len() == many, "tokens are missing");
    let file = Path::join(stage.setting.folder(), "tokens");
    fs::write(&file, tokens.join("\n") + "\n")?;
    Ok(file)
}
