//! The figures, in groups. A figure is a few lines: the product's route, and beside it what it is compared with and how much
//! of that it should reach.

mod cores;
mod durability;
mod footprint;
mod half_load;
mod introspection;
mod issuance;
mod protection;
mod statics;

use std::{fmt, fs, path::Path, path::PathBuf};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use m2m::verify::Algorithm;
use serde_json::Value;

use crate::{
    floor::{self, Lesson},
    report::Report,
    run::{self, ClientEntry, Options, Setting},
    server::Server,
    wrk::Request,
};

/// The policy of the benchmark's provider.
const POLICY: &str = include_str!("../../policy.toml");

/// The client that owns all resources of the policy.
const OWNER: &str = "calendar-service";

/// The setting of a provider that keeps no events of tokens.
const SUMMED: (&str, &str) = ("AUDIT_TOKENS", "summed");

/// Figures that are taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// Tokens a second by algorithm, against raw signatures and the floor.
    Issuance,
    /// Tokens a second when each waits until its audit event is on disk.
    Durability,
    /// Introspections a second of JWTs and of opaque tokens.
    Introspection,
    /// Requests a second of a protected route, with a repeated token and with new ones.
    Protection,
    /// The key set and the metadata.
    Documents,
    /// The 99th percentile of the latency at half of the full load.
    HalfLoad,
    /// Memory, start, sizes, and bytes written to disk.
    Footprint,
    /// Two workers against one. The load needs a core as well, so this is not part of the whole unless asked for.
    Cores,
}

impl Group {
    /// What is measured when nobody says what.
    pub const TABLE: [Self; 7] = [
        Self::Issuance,
        Self::Durability,
        Self::Introspection,
        Self::Protection,
        Self::Documents,
        Self::HalfLoad,
        Self::Footprint,
    ];

    pub(crate) async fn measure(
        self,
        stage: &Stage<'_>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        match self {
            Self::Issuance => issuance::measure(stage, report).await,
            Self::Durability => durability::measure(stage, report).await,
            Self::Introspection => introspection::measure(stage, report).await,
            Self::Protection => protection::measure(stage, report).await,
            Self::Documents => statics::measure(stage, report).await,
            Self::HalfLoad => half_load::measure(stage, report).await,
            Self::Footprint => footprint::measure(stage, report).await,
            Self::Cores => cores::measure(stage, report).await,
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// What most figures need: a provider that issues every kind of token, the floor, and one who asks.
pub(crate) struct Stage<'a> {
    pub(crate) setting: &'a Setting,
    options: &'a Options,
    policy: PathBuf,
    provider: Server,
    floor: Server,
}

impl<'a> Stage<'a> {
    pub(crate) async fn set(setting: &'a Setting, options: &'a Options) -> anyhow::Result<Self> {
        let policy = setting.folder().join("policy.toml");
        fs::write(&policy, POLICY)?;
        let mut provider = run::provider(setting, &policy)?;
        let mut floor = run::floor(setting)?;
        for server in [&mut provider, &mut floor] {
            server.ready(&setting.http).await?;
        }
        Ok(Self {
            setting,
            options,
            policy,
            provider,
            floor,
        })
    }

    /// A provider besides, with a folder and settings of its own, ready.
    async fn provider_with(
        &self,
        folder: &str,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Issuer> {
        let folder = self.setting.folder().join(folder);
        fs::create_dir(&folder)?;
        let place = self.setting.server_in(&folder);
        let mut server = run::provider_in(place, &self.policy, settings)?;
        server.ready(&self.setting.http).await?;
        Ok(Issuer { server, folder })
    }

    /// Asks the stage's provider for a token.
    fn token_request(&self, of: Token) -> anyhow::Result<Request> {
        token_request(&self.provider, self.setting.folder(), of)
    }

    async fn token(&self, of: Token) -> anyhow::Result<String> {
        access_token(&self.token_request(of)?.once(&self.setting.http).await?)
    }

    /// Asks the floor for a token of this algorithm.
    fn floor_token_request(&self, algorithm: Algorithm) -> Request {
        let url = self.floor.url(&floor::token_path(algorithm));
        Request::post_form(url, Token::Jwt(algorithm).form())
            .basic_auth(floor::CLIENT_ID, floor::CLIENT_SECRET)
    }

    async fn teach_floor(&self, lesson: &Lesson) -> anyhow::Result<()> {
        let request = self.setting.http.post(self.floor.url("/learn"));
        let answer = request.json(lesson).send().await?;
        ensure!(
            answer.status() == 204,
            "the floor does not understand: {lesson:?}"
        );
        Ok(())
    }
}

/// A provider that runs beside the one of the stage.
struct Issuer {
    server: Server,
    folder: PathBuf,
}

/// Which token is asked for.
#[derive(Clone, Copy)]
enum Token {
    Jwt(Algorithm),
    Opaque,
}

impl Token {
    /// The resource of the policy that has such tokens.
    fn resource(self) -> &'static str {
        match self {
            Self::Jwt(Algorithm::ES256) => "calendar-es256",
            Self::Jwt(Algorithm::EdDSA) => "calendar-eddsa",
            Self::Jwt(Algorithm::RS256 | Algorithm::PS256) => "calendar-rs256",
            Self::Opaque => "calendar-opaque",
        }
    }

    fn form(self) -> String {
        let resource = self.resource();
        format!("grant_type=client_credentials&resource={resource}&scope=calendar.read")
    }
}

/// Asks a provider, whose folder this is, for a token.
fn token_request(provider: &Server, folder: &Path, of: Token) -> anyhow::Result<Request> {
    let ClientEntry {
        client_id,
        client_secret,
    } = run::assistant(folder)?;
    let url = provider.url("/auth/oauth/token");
    Ok(Request::post_form(url, of.form()).basic_auth(&client_id, &client_secret))
}

/// The token in the answer to a token request.
fn access_token(answer: &str) -> anyhow::Result<String> {
    let answer: Value = serde_json::from_str(answer)?;
    let token = answer["access_token"].as_str();
    Ok(token.context("no access token in the answer")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_token_has_its_resource_in_the_policy() {
        let all = [
            Token::Jwt(Algorithm::RS256),
            Token::Jwt(Algorithm::ES256),
            Token::Jwt(Algorithm::EdDSA),
            Token::Opaque,
        ];
        for token in all {
            let table = format!("[resources.{}]", token.resource());
            assert!(POLICY.contains(&table), "{table}");
        }
    }
}
