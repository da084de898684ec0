//! The signing keys, for those who administer them. Nothing here shows a private part.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
    rt,
    web::{Data, Path},
};
use m2m::{
    service::{Problem, given},
    trace,
};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{
    from_admin::{FromAdmin, MaybeJson},
    revocations,
};
use crate::{
    administration::{self, Failure},
    audit::{Action, Event},
    built_in::{KeysRead, KeysRotate},
    client::ClientId,
    keys::{KeyError, KeyRecord, KeyState, algorithm},
    registry::commit::Admin,
    server::AuthServer,
};

/// A key and where it is in its life. Times are seconds since the epoch.
#[derive(Serialize)]
struct KeyView<'a> {
    kid: &'a str,
    alg: &'static str,
    state: &'static str,
    announced_at: u64,
    signs_from: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    retired_at: Option<u64>,
    /// When it leaves the key set.
    #[serde(skip_serializing_if = "Option::is_none")]
    published_until: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compromised_at: Option<u64>,
}

#[derive(Serialize)]
struct KeyList<'a> {
    keys: Vec<KeyView<'a>>,
}

/// No name asks for all algorithms.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    #[serde(default, deserialize_with = "given")]
    alg: Option<String>,
}

/// `GET /admin/v1/keys`
pub(super) async fn list(_: FromAdmin<KeysRead>, server: Data<AuthServer>) -> HttpResponse {
    listed(&server)
}

/// `POST /admin/v1/keys/rotate`
pub(super) async fn rotate(
    request: FromAdmin<KeysRotate, MaybeJson<Rotation>>,
    server: Data<AuthServer>,
) -> Result<HttpResponse, Problem> {
    let (MaybeJson(Rotation { alg }), admin) = (request.body, request.admin);
    let unknown = || Problem::bad_request("alg is one of ES256, RS256, PS256, EdDSA").field("alg");
    let wished = alg
        .as_deref()
        .map(|name| algorithm(name).ok_or_else(unknown))
        .transpose()?;
    warn!(
        client = actor(&admin),
        alg, "rotates the signing keys by hand"
    );
    let own = server.clone();
    let event = Event::done(Action::KeyRotated, server.clock.now(), &admin.origin);
    to_the_end(async move { Ok(own.keys.rotate(wished, &event).await?) }).await?;
    Ok(listed(&server))
}

/// `POST /admin/v1/keys/{kid}/compromised`
pub(super) async fn compromised(
    request: FromAdmin<KeysRotate>,
    server: Data<AuthServer>,
    kid: Path<String>,
) -> Result<HttpResponse, Problem> {
    let admin = request.admin;
    let (own, origin) = (server.clone(), admin.origin.clone());
    let name = kid.clone();
    if to_the_end(async move { administration::withdraw_key(&own, &origin, &name).await }).await? {
        // Only now it is known to be a name of a key.
        warn!(client = actor(&admin), kid = %*kid, "declared a signing key compromised");
        Ok(listed(&server))
    } else {
        Err(Problem::not_found(
            "there is no key with this kid: list the keys",
        ))
    }
}

/// A change goes on if the caller hangs up: what is in the store has to be in memory, too.
async fn to_the_end<T: 'static>(
    change: impl Future<Output = Result<T, Failure>> + 'static,
) -> Result<T, Problem> {
    let changed = rt::spawn(trace::carry(change)).await;
    changed
        .expect("changing keys does not panic")
        .map_err(problem)
}

fn actor(admin: &Admin) -> Option<&str> {
    admin.origin.actor.as_ref().map(ClientId::as_str)
}

fn listed(server: &AuthServer) -> HttpResponse {
    let (ring, now) = (server.keys.ring(), server.clock.now());
    let records = ring.records();
    let keys = records.iter().filter_map(|key| view(key, records, now));
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(KeyList {
            keys: keys.collect(),
        })
}

fn view<'a>(key: &'a KeyRecord, all: &[KeyRecord], now: u64) -> Option<KeyView<'a>> {
    let (state, retired_at, published_until) = match key.state(all, now) {
        KeyState::Announced { .. } => ("announced", None, None),
        KeyState::Active { .. } => ("active", None, None),
        KeyState::Retired { since, until } => ("retired", Some(since), Some(until)),
        KeyState::Compromised { .. } => ("compromised", None, None),
        KeyState::Deleted => return None,
    };
    Some(KeyView {
        kid: &key.kid,
        alg: key.algorithm.name(),
        state,
        announced_at: key.created_at,
        signs_from: key.signs_from,
        retired_at,
        published_until,
        compromised_at: key.compromised_at,
    })
}

fn problem(failure: Failure) -> Problem {
    if let Failure::Key(KeyError::Missing(alg)) = failure {
        let detail = format!("no resource uses {alg}, so there is no key to rotate");
        return Problem::new(StatusCode::CONFLICT, detail).field("alg");
    }
    revocations::problem(failure)
}
