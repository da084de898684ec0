//! What a provider takes of a machine besides processor time: how long until its first token, how much memory, how large the
//! programs are, and how much it writes.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use m2m::verify::Algorithm;
use serde_json::Value;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{Issuer, OWNER, SUMMED, Stage, Token, access_token, token_request};
use crate::{
    clients::at_rest,
    machine,
    report::{Report, median},
    run,
    server::Server,
    wrk::{CONNECTIONS, Request},
};

const GOAL_SECOND_START: f64 = 100.0;
const GOAL_FRESH_START: f64 = 1000.0;
const GOAL_IDLE: f64 = 20.0;
const GOAL_LOADED: f64 = 40.0;
const GOAL_REVOCATION: f64 = 150.0;
/// The goal is nothing for each: what is written every few seconds, however many tokens there were, is a part of a byte.
const GOAL_SUMMED: f64 = 1.0;

/// How long a provider is given to write what it does by itself, in seconds.
const WRITES_EVERY: u32 = 10;

const MEGABYTE: f64 = 1e6;
const MEBIBYTE: f64 = 1_048_576.0;

/// How long a start may take at the most, and how often it is looked whether it is over.
const START_LIMIT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(1);

/// How many tokens are revoked to see what one costs.
const REVOCATIONS: u32 = 2000;

/// The issuer of all starts: tokens of one are good at the next.
const PUBLIC_URL: (&str, &str) = ("PUBLIC_URL", "http://localhost:3001");

/// The kind of token that is asked for.
const TOKEN: Token = Token::Jwt(Algorithm::ES256);

pub(super) async fn measure(stage: &Stage<'_>, report: &mut Report) -> anyhow::Result<()> {
    starts(stage, report).await?;
    let folder = TempDir::new_in(stage.setting.folder())?;
    // Stopped and started again, it is as after every start but the first.
    let (server, _) = first_token(stage, folder.path()).await?;
    size_when_stopped(server, folder.path()).await?;
    load(stage, report, folder.path()).await?;
    without_events(stage, report).await?;
    revocations(stage, report, folder.path()).await?;
    for program in ["auth-provider", "calendar-service"] {
        let file = std::env::current_exe()?.with_file_name(program);
        let size = machine::size_of(&fs::metadata(file)?) / MEGABYTE;
        report.fact(format!("size of the program {program}"), size, "MB", None);
    }
    Ok(())
}

/// Stops a provider. Returns how many bytes its database then holds, whether they are in its file or still in the log that is
/// written ahead of it.
async fn size_when_stopped(mut server: Server, folder: &Path) -> anyhow::Result<f64> {
    server.stop().await?;
    size_of_database(folder).await
}

async fn size_of_database(folder: &Path) -> anyhow::Result<f64> {
    let path = folder.join("data/auth-provider.db");
    let options = SqliteConnectOptions::new().filename(path);
    let mut database = SqliteConnection::connect_with(&options).await?;
    let bytes: f64 = sqlx::query_scalar(
        "SELECT CAST((page_count - freelist_count) * page_size AS REAL) \
         FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
    )
    .fetch_one(&mut database)
    .await?;
    database.close().await?;
    Ok(bytes)
}

/// Starts with nothing, and again with what the first start left behind.
async fn starts(stage: &Stage<'_>, report: &mut Report) -> anyhow::Result<()> {
    let (mut fresh, mut second) = (Vec::new(), Vec::new());
    for round in 1..=stage.setting.plan().rounds {
        eprintln!("start {round} of {} …", stage.setting.plan().rounds);
        let folder = TempDir::new_in(stage.setting.folder())?;
        for times in [&mut fresh, &mut second] {
            let (mut server, taken) = first_token(stage, folder.path()).await?;
            times.push(taken);
            server.stop().await?;
        }
    }
    for (name, times, goal) in [
        (
            "start until the first token, with a database",
            second,
            GOAL_SECOND_START,
        ),
        (
            "start until the first token, with nothing",
            fresh,
            GOAL_FRESH_START,
        ),
    ] {
        report.fact(name, median(times.into_iter()), "ms", Some(goal));
    }
    Ok(())
}

/// Starts a provider and asks it for tokens until it gives one. Returns how long that took, in milliseconds.
async fn first_token(stage: &Stage<'_>, folder: &Path) -> anyhow::Result<(Server, f64)> {
    let begin = Instant::now();
    let place = stage.setting.server_in(folder);
    let server = run::provider_in(place, &stage.policy, &[PUBLIC_URL])?;
    loop {
        // At the first start it is some time until there is a secret to ask with.
        let answer = match token_request(&server, folder, TOKEN) {
            Ok(request) => request.once(&stage.setting.http).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(_) => return Ok((server, begin.elapsed().as_secs_f64() * 1e3)),
            Err(error) if begin.elapsed() > START_LIMIT => {
                return Err(error).context("there was no first token in time");
            }
            Err(_) => sleep(LOOK).await,
        }
    }
}

/// Issues tokens for a while, in two halves: memory should not have grown in the second.
async fn load(stage: &Stage<'_>, report: &mut Report, folder: &Path) -> anyhow::Result<()> {
    let size = size_of_database(folder).await?;
    let (server, _) = first_token(stage, folder).await?;
    at_rest(&server).await?;
    report.fact("memory, idle", megabytes(&server)?, "MB", Some(GOAL_IDLE));
    let written = server.bytes_written()?;
    let request = token_request(&server, folder, TOKEN)?;
    let half = stage.options.soak.div_ceil(2);
    let mut tokens = 0.0;
    for loaded in [half, 2 * half] {
        eprintln!("issuing tokens for {half} s …");
        let summary = request.repeat(half, stage.setting.load()).await?;
        tokens += summary.requests;
        at_rest(&server).await?;
        let name = format!("memory after {loaded} s of full load");
        report.fact(name, megabytes(&server)?, "MB", Some(GOAL_LOADED));
    }
    let highest = server.memory()?.highest * MEBIBYTE / MEGABYTE;
    report.fact("memory at its highest", highest, "MB", Some(GOAL_LOADED));
    let written = (server.bytes_written()? - written) / tokens;
    let kept = (size_when_stopped(server, folder).await? - size) / tokens;
    let name = "written per JWT, all of it the audit log";
    report.fact(name, written, "bytes", None);
    report.fact("kept in the database per JWT", kept, "bytes", None);
    Ok(())
}

/// Issues tokens of which no events are kept, for longer than it takes until sums are written.
async fn without_events(stage: &Stage<'_>, report: &mut Report) -> anyhow::Result<()> {
    let Issuer { server, folder } = stage.provider_with("no-events", &[SUMMED]).await?;
    let request = token_request(&server, &folder, TOKEN)?;
    request.repeat(1, stage.setting.load()).await?;
    at_rest(&server).await?;
    let written = server.bytes_written()?;
    eprintln!("issuing tokens without events …");
    let seconds = stage.options.soak.max(WRITES_EVERY + 2);
    let summary = request.repeat(seconds, stage.setting.load()).await?;
    at_rest(&server).await?;
    let written = (server.bytes_written()? - written) / summary.requests;
    let name = "written per JWT without events of tokens";
    report.fact(name, written, "bytes", Some(GOAL_SUMMED));
    size_when_stopped(server, &folder).await?;
    Ok(())
}

/// Issues tokens and then revokes them, as many at once as the load has connections.
async fn revocations(stage: &Stage<'_>, report: &mut Report, folder: &Path) -> anyhow::Result<()> {
    eprintln!("revoking {REVOCATIONS} tokens …");
    let http = &stage.setting.http;
    let at_once = usize::try_from(CONNECTIONS)?;
    let (server, _) = first_token(stage, folder).await?;
    let request = token_request(&server, folder, TOKEN)?;
    let tokens: Vec<String> = stream::iter(0..REVOCATIONS)
        .map(|_| async { access_token(&request.once(http).await?) })
        .buffer_unordered(at_once)
        .try_collect()
        .await?;
    let size = size_when_stopped(server, folder).await?;

    let (server, _) = first_token(stage, folder).await?;
    at_rest(&server).await?;
    let one = &tokens[0];
    ensure!(
        is_active(stage, &server, folder, one).await?,
        "a token is not good"
    );
    let written = server.bytes_written()?;
    let client = run::assistant(folder)?;
    let url = server.url("/auth/oauth/revoke");
    let revoked = stream::iter(&tokens)
        .map(|token| {
            Request::post_form(url.clone(), format!("token={token}"))
                .basic_auth(&client.client_id, &client.client_secret)
        })
        .map(|request| async move { request.once(http).await })
        .buffer_unordered(at_once)
        .try_fold(0, |count: u32, _| async move { Ok(count + 1) })
        .await?;
    ensure!(revoked == REVOCATIONS, "revocations are missing");
    ensure!(
        !is_active(stage, &server, folder, one).await?,
        "a token was not revoked"
    );
    at_rest(&server).await?;
    let revoked = f64::from(revoked);
    let written = (server.bytes_written()? - written) / revoked;
    let kept = (size_when_stopped(server, folder).await? - size) / revoked;
    let (name, goal) = ("written per revocation", Some(GOAL_REVOCATION));
    report.fact(name, written, "bytes", goal);
    report.fact("kept in the database per revocation", kept, "bytes", None);
    Ok(())
}

/// Whether the provider calls a token active.
async fn is_active(
    stage: &Stage<'_>,
    server: &Server,
    folder: &Path,
    token: &str,
) -> anyhow::Result<bool> {
    let owner = run::entry(folder, OWNER)?;
    let url = server.url("/auth/oauth/introspect");
    let answer = Request::post_form(url, format!("token={token}"))
        .basic_auth(&owner.client_id, &owner.client_secret)
        .once(&stage.setting.http)
        .await?;
    Ok(serde_json::from_str::<Value>(&answer)?["active"] == true)
}

fn megabytes(server: &Server) -> anyhow::Result<f64> {
    Ok(server.memory()?.resident * MEBIBYTE / MEGABYTE)
}
