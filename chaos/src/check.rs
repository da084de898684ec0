//! Everything in the ledger, asked of the server while nobody else asks for anything: in its lists, and by what they mean.
//! A secret is tried, a grant is used, a token is asked about and verified with the key set that verifiers have.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::{
    lane::{about, signs_from},
    ledger::{State, Thing},
    world::{Answer, Caller, Request, World},
};

/// Questions at the same time.
const AT_ONCE: usize = 8;

/// The longest page of a list.
const PAGE: usize = 1000;

/// Holds the server to its word. What it does not keep is in the ledger afterwards; what was in doubt and was seen no
/// longer is.
///
/// # Errors
/// When the server does not answer, so that nobody knows.
pub async fn everything(world: &World) -> anyhow::Result<()> {
    world.checking(each_fact(world)).await
}

async fn each_fact(world: &World) -> anyhow::Result<()> {
    clients_and_grants(world).await?;
    let things: Vec<Thing> = world.ledger().things().cloned().collect();
    let each = stream::iter(things).map(|thing| async move {
        match &thing {
            Thing::Credential { client, .. } => secret(world, &thing, client).await,
            Thing::Grant { client, resource } => grant(world, &thing, client, resource).await,
            Thing::Token { .. } => token(world, &thing).await,
            Thing::Client(_) | Thing::Key(_) => Ok(()), // they were in a list
        }
    });
    each.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    keys(world).await?;
    revocations(world).await?;
    world.ledger().settle();
    Ok(())
}

async fn told(world: &World, caller: &Caller, request: &Request) -> anyhow::Result<Value> {
    match world.ask(caller, request).await {
        Answer::Done(answer) => Ok(answer),
        other => bail!("{} could not be checked: {other:?}", request.path),
    }
}

/// All pages of a list.
async fn list(world: &World, name: &str) -> anyhow::Result<Vec<Value>> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/admin/v1/{name}?limit={PAGE}{cursor}");
        let mut page = told(world, &Caller::Administrator, &Request::get(path)).await?;
        let rows = page[name].as_array_mut().context("a page has a list")?;
        all.append(rows);
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(all),
        }
    }
}

async fn clients_and_grants(world: &World) -> anyhow::Result<()> {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let clients = list(world, "clients").await?;
    let clients: BTreeMap<String, State> = clients
        .iter()
        .map(|row| (text(row, "client_id"), State::There(text(row, "name"))))
        .collect();
    let grants = list(world, "grants").await?;
    let grants: BTreeMap<Thing, State> = grants
        .iter()
        .map(|row| {
            let thing = Thing::grant(&text(row, "client_id"), &text(row, "resource"));
            let scopes = row["scopes"].as_array().into_iter().flatten();
            let scopes: Vec<&str> = scopes.filter_map(Value::as_str).collect();
            (thing, State::There(scopes.join(" ")))
        })
        .collect();
    let mut ledger = world.ledger();
    let things: Vec<Thing> = ledger.things().cloned().collect();
    for thing in things {
        let seen = match &thing {
            Thing::Client(id) => clients.get(id),
            Thing::Grant { .. } => grants.get(&thing),
            _ => continue,
        };
        ledger.see(&thing, seen.unwrap_or(&State::Gone), "the list");
    }
    Ok(())
}

/// A secret is good for asking, or it is not.
async fn secret(world: &World, thing: &Thing, client: &str) -> anyhow::Result<()> {
    let Some(secret) = world.ledger().secret(thing).cloned() else {
        return Ok(());
    };
    let caller = Caller::Client {
        id: client.to_owned(),
        secret,
    };
    let form = vec![("token", "no token".to_owned())];
    let request = Request::form("/oauth/introspect", form);
    let seen = match world.ask(&caller, &request).await {
        Answer::Done(_) => State::there(),
        Answer::Refused(401) => State::Gone,
        other => bail!("{thing} could not be checked: {other:?}"),
    };
    world.ledger().see(thing, &seen, "its use");
    Ok(())
}

/// A grant is what gets a token, as long as the client has a secret to ask with.
async fn grant(world: &World, thing: &Thing, client: &str, resource: &str) -> anyhow::Result<()> {
    let (state, secret) = {
        let ledger = world.ledger();
        (ledger.certain(thing).cloned(), good_secret(&ledger, client))
    };
    let (Some(state), Some(secret)) = (state, secret) else {
        return Ok(());
    };
    let caller = Caller::Client {
        id: client.to_owned(),
        secret,
    };
    let form = vec![
        ("grant_type", "client_credentials".to_owned()),
        ("resource", resource.to_owned()),
    ];
    let request = Request::form("/oauth/token", form);
    let granted = match world.ask(&caller, &request).await {
        Answer::Done(_) => true,
        Answer::Refused(400) => false,
        Answer::Refused(401) => return Ok(()), // its secret is lost, which is found where secrets are tried
        other => bail!("{thing} could not be checked: {other:?}"),
    };
    if granted != (state != State::Gone) {
        let seen = if granted {
            "effective"
        } else {
            "without effect"
        };
        let what = format!("{thing} is {seen}, and was acknowledged as {state}");
        world.ledger().lose(thing, what);
    }
    Ok(())
}

fn good_secret(ledger: &crate::ledger::Ledger, client: &str) -> Option<SecretString> {
    let mut things = ledger.things().filter(|thing| {
        matches!(thing, Thing::Credential { client: of, .. } if of == client)
            && ledger.certain(thing) == Some(&State::there())
    });
    ledger.secret(things.next()?).cloned()
}

async fn token(world: &World, thing: &Thing) -> anyhow::Result<()> {
    let Some(request) = about(world, "/oauth/introspect", thing) else {
        return Ok(());
    };
    let answer = told(world, &Caller::from(&world.checker), &request).await?;
    let seen = State::is(answer["active"] == true);
    world.ledger().see(thing, &seen, "introspection");
    Ok(())
}

/// Each key that was told of is still there, and verifies what it signed.
async fn keys(world: &World) -> anyhow::Result<()> {
    let listed = told(
        world,
        &Caller::Administrator,
        &Request::get("/admin/v1/keys"),
    )
    .await?;
    let listed: BTreeMap<&str, State> = listed["keys"]
        .as_array()
        .context("no list of keys")?
        .iter()
        .filter_map(|key| Some((key["kid"].as_str()?, signs_from(key))))
        .collect();
    let published = world.http().get(world.url("/jwt/jwks.json")).send().await?;
    let published: JwkSet = published.error_for_status()?.json().await?;
    let mut ledger = world.ledger();
    let things: Vec<Thing> = ledger.things().cloned().collect();
    for thing in &things {
        match thing {
            Thing::Key(kid) => {
                let seen = listed.get(kid.as_str()).unwrap_or(&State::Gone);
                ledger.see(thing, seen, "the list of keys");
                if published.find(kid).is_none() && *seen != State::Gone {
                    ledger.lose(thing, format!("{thing} is not in the key set"));
                }
            }
            Thing::Token { resource, .. } => {
                let Some(token) = ledger.secret(thing).cloned() else {
                    continue;
                };
                let token = token.expose_secret();
                if token.contains('.') && !verifies(token, resource, &published) {
                    let signer = decode_header(token).ok().and_then(|header| header.kid);
                    let key = Thing::Key(signer.unwrap_or_default());
                    ledger.lose(&key, format!("{thing} cannot be verified with the key set"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether somebody who has the key set accepts this token.
fn verifies(token: &str, resource: &str, keys: &JwkSet) -> bool {
    let key = decode_header(token)
        .ok()
        .and_then(|header| Some((header.alg, keys.find(&header.kid?)?)));
    let Some((algorithm, key)) = key else {
        return false;
    };
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[resource]);
    DecodingKey::from_jwk(key).is_ok_and(|key| decode::<Value>(token, &key, &validation).is_ok())
}

/// Who verifies by himself hears of each token that was taken back.
async fn revocations(world: &World) -> anyhow::Result<()> {
    let caller = Caller::from(&world.checker);
    let answer = told(world, &caller, &Request::get("/oauth/revocations")).await?;
    let entries = answer["revocations"]
        .as_array()
        .context("no list of revocations")?;
    let name = |entry: &Value, name: &str| entry[name].as_str().map(str::to_owned);
    let mut tokens = BTreeSet::new();
    let mut owners = BTreeSet::new();
    for entry in entries {
        tokens.extend(name(entry, "jti"));
        if let Some(client) = name(entry, "client_id") {
            owners.insert((client, name(entry, "aud")));
        }
    }
    let mut ledger = world.ledger();
    let gone = |thing: &&Thing| ledger.certain(thing) == Some(&State::Gone);
    let things: Vec<Thing> = ledger.things().filter(gone).cloned().collect();
    for thing in things {
        // An opaque token is named by its id in the list, which its bearer is not told; introspection is what counts.
        let Thing::Token {
            client,
            resource,
            name,
        } = &thing
        else {
            continue;
        };
        let known = name.starts_with("opaque")
            || tokens.contains(name)
            || owners.contains(&(client.clone(), None))
            || owners.contains(&(client.clone(), Some(resource.clone())));
        if !known {
            ledger.lose(
                &thing,
                format!("{thing} was taken back, and the feed does not say so"),
            );
        }
    }
    Ok(())
}
