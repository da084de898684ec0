//! Mixed work. A lane is an administrator and the clients that he made: what it asks for comes one after the other, and
//! touches nothing of another lane, so that what was acknowledged last is what has to be true. Many lanes are at work at
//! once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::{
    chance::Chance,
    deed::{Deed, What, jti, path_of, path_of_secret},
    ledger::{Asked, State, Thing},
    world::{Answer, Caller, Request, World},
};

/// What a client may be granted, with the scopes that it gets then.
pub const RESOURCES: [(&str, &str); 2] = [("files", "read"), ("vaults", "read")];

/// Clients of one lane.
const CLIENTS: usize = 4;

/// Secrets of one client.
const SECRETS: usize = 3;

/// Removing a grant takes back all tokens up to the second in which that happens: a new grant comes later than that.
const AFTER_REMOVAL: Duration = Duration::from_secs(2);

/// Keys are for all lanes: only the first changes them, and not too often, since the key set has an end.
const KEY_PAUSE: Duration = Duration::from_secs(5);

/// One administrator.
pub struct Lane {
    world: Arc<World>,
    chance: Chance,
    number: usize,
    /// For names that nobody had before.
    made: u32,
    clients: Vec<Client>,
    /// What nobody knows the outcome of. It is asked for again, as a caller would.
    unfinished: Option<(Deed, Asked)>,
    keys_changed: Option<Instant>,
}

/// A client that the lane knows to be there.
#[derive(Clone, Debug, Default)]
struct Client {
    id: String,
    renamed: u32,
    secrets: Vec<Thing>,
    grants: Vec<&'static str>,
    removed: Vec<(&'static str, Instant)>,
    tokens: Vec<Thing>,
}

impl Lane {
    pub fn new(world: Arc<World>, seed: u64, number: usize) -> Self {
        let part = u64::try_from(number).unwrap_or(0);
        Self {
            world,
            chance: Chance::new(seed, part),
            number,
            made: 0,
            clients: Vec::new(),
            unfinished: None,
            keys_changed: None,
        }
    }

    /// Asks for one thing, and writes down what came of it.
    pub async fn step(&mut self) {
        let (deed, asked, again) = if let Some((deed, asked)) = self.unfinished.take() {
            self.world.ledger().again(&asked);
            (deed, asked, true)
        } else {
            let Some(deed) = self.choose() else { return };
            let changes = self.changes(&deed.what);
            let asked = self.world.ledger().begin(changes);
            (deed, asked, false)
        };
        match self.world.ask(&deed.caller, &deed.request).await {
            Answer::Done(body) => {
                self.world.ledger().acknowledge(asked);
                self.took(&deed.what, &body);
            }
            // Whoever removes something twice is told that it is gone.
            Answer::Refused(404) if again && deed.what.removes() => {
                self.world.ledger().acknowledge(asked);
                self.took(&deed.what, &Value::Null);
            }
            Answer::Refused(status) => {
                self.world.ledger().refuse(asked);
                self.refused(&deed, status);
            }
            Answer::Nothing | Answer::Failed => self.unfinished = Some((deed, asked)),
        }
    }

    /// Chooses what to do next.
    fn choose(&mut self) -> Option<Deed> {
        if self.clients.is_empty() {
            return Some(self.make());
        }
        if self.number == 0
            && self
                .keys_changed
                .is_none_or(|since| since.elapsed() > KEY_PAUSE)
        {
            self.keys_changed = Some(Instant::now());
            let request = Request::new(Method::POST, "/admin/v1/keys/rotate");
            return Some(Deed::administrator(request, What::RotateKeys));
        }
        loop {
            let client = self.chance.one_of(&self.clients)?.clone();
            if let Some(deed) = self.choose_for(&client) {
                return Some(deed);
            }
        }
    }

    /// What to do to this client, or as this client. `None`: it lacks what that takes. It can always be looked at.
    fn choose_for(&mut self, client: &Client) -> Option<Deed> {
        match self.chance.below(100) {
            0..24 => self.issue(client),
            24..44 => self.introspect(client),
            44..50 => self.revoke(client),
            50..57 if self.clients.len() < CLIENTS => Some(self.make()),
            50..61 => Some(Self::rename(client)),
            61..64 => Some(Self::remove(client)),
            64..74 => self.grant(client),
            74..78 => self.ungrant(client),
            78..83 => self.add_secret(client),
            83..87 => self.replace_secret(client),
            87..90 => self.remove_secret(client),
            _ => Some(self.look(client)),
        }
    }

    fn name(&mut self, of: &str) -> String {
        self.made += 1;
        format!("{of}-{}-{}", self.number, self.made)
    }

    fn make(&mut self) -> Deed {
        let client = self.name("client");
        let body = json!({"client_id": client, "name": label(0)});
        let request = Request::json(Method::POST, "/admin/v1/clients", body).once(client.clone());
        Deed::administrator(request, What::Make { client })
    }

    fn rename(client: &Client) -> Deed {
        let body = json!({"name": label(client.renamed + 1)});
        let request = Request::json(Method::PATCH, path_of(&client.id), body);
        let client = client.id.clone();
        Deed::administrator(request, What::Rename { client })
    }

    fn remove(client: &Client) -> Deed {
        let request = Request::new(Method::DELETE, path_of(&client.id));
        let client = client.id.clone();
        Deed::administrator(request, What::Remove { client })
    }

    fn grant(&mut self, client: &Client) -> Option<Deed> {
        let is_free = |name: &str| {
            let mut removed = client.removed.iter();
            !client.grants.contains(&name)
                && removed.all(|(old, since)| *old != name || since.elapsed() > AFTER_REMOVAL)
        };
        let free = RESOURCES.iter().filter(|(name, _)| is_free(name));
        let free: Vec<_> = free.collect();
        let (resource, scope) = **self.chance.one_of(&free)?;
        let body = json!({"client_id": client.id, "resource": resource, "scopes": [scope]});
        let key = self.name("grant");
        let request = Request::json(Method::POST, "/admin/v1/grants", body).once(key);
        let client = client.id.clone();
        Some(Deed::administrator(
            request,
            What::Grant { client, resource },
        ))
    }

    fn ungrant(&mut self, client: &Client) -> Option<Deed> {
        let resource = *self.chance.one_of(&client.grants)?;
        let path = format!("/admin/v1/grants/{}/{resource}", client.id);
        let client = client.id.clone();
        let what = What::Ungrant { client, resource };
        Some(Deed::administrator(
            Request::new(Method::DELETE, path),
            what,
        ))
    }

    fn add_secret(&mut self, client: &Client) -> Option<Deed> {
        if client.secrets.len() >= SECRETS {
            return None;
        }
        let path = format!("{}/credentials", path_of(&client.id));
        let request = Request::json(Method::POST, path, json!({})).once(self.name("secret"));
        let client = client.id.clone();
        Some(Deed::administrator(request, What::AddSecret { client }))
    }

    fn replace_secret(&mut self, client: &Client) -> Option<Deed> {
        let old = self.chance.one_of(&client.secrets)?.clone();
        let path = format!("{}/rotate", path_of_secret(&old)?);
        let request = Request::json(Method::POST, path, json!({"grace": 0}));
        let client = client.id.clone();
        let request = request.once(self.name("secret"));
        Some(Deed::administrator(
            request,
            What::ReplaceSecret { client, old },
        ))
    }

    fn remove_secret(&mut self, client: &Client) -> Option<Deed> {
        if client.secrets.len() < 2 {
            return None; // it would have no way to speak for itself
        }
        let old = self.chance.one_of(&client.secrets)?.clone();
        let request = Request::new(Method::DELETE, path_of_secret(&old)?);
        let client = client.id.clone();
        Some(Deed::administrator(
            request,
            What::RemoveSecret { client, old },
        ))
    }

    fn issue(&mut self, client: &Client) -> Option<Deed> {
        let resource = *self.chance.one_of(&client.grants)?;
        let (caller, with) = self.speak_as(client)?;
        let form = vec![
            ("grant_type", "client_credentials".to_owned()),
            ("resource", resource.to_owned()),
        ];
        let client = client.id.clone();
        let request = Request::form("/oauth/token", form);
        let what = What::Issue {
            client,
            resource,
            with,
        };
        Some(Deed {
            caller,
            request,
            what,
        })
    }

    fn introspect(&mut self, client: &Client) -> Option<Deed> {
        let token = self.chance.one_of(&client.tokens)?.clone();
        let request = about(&self.world, "/oauth/introspect", &token)?;
        let caller = Caller::from(&self.world.checker);
        let what = What::Introspect { token };
        Some(Deed {
            caller,
            request,
            what,
        })
    }

    fn revoke(&mut self, client: &Client) -> Option<Deed> {
        let token = self.chance.one_of(&client.tokens)?.clone();
        let request = about(&self.world, "/oauth/revoke", &token)?;
        let (caller, _) = self.speak_as(client)?;
        let client = client.id.clone();
        let what = What::Revoke { client, token };
        Some(Deed {
            caller,
            request,
            what,
        })
    }

    fn look(&mut self, client: &Client) -> Deed {
        let path = match self.chance.below(4) {
            0 => "/admin/v1/policy/graph".to_owned(),
            1 => path_of(&client.id),
            2 => format!("/admin/v1/grants?client_id={}", client.id),
            _ => "/jwt/jwks.json".to_owned(),
        };
        Deed::administrator(Request::get(path), What::Look)
    }

    /// The client itself, with one of its secrets.
    fn speak_as(&mut self, client: &Client) -> Option<(Caller, Thing)> {
        let with = self.chance.one_of(&client.secrets)?.clone();
        let secret = self.world.ledger().secret(&with)?.clone();
        let id = client.id.clone();
        Some((Caller::Client { id, secret }, with))
    }

    /// What would be different afterwards. What only the answer tells is learned from that.
    fn changes(&self, what: &What) -> Vec<(Thing, State)> {
        match what {
            What::Make { client } => {
                vec![(Thing::Client(client.clone()), State::There(label(0)))]
            }
            What::Rename { client } => {
                let renamed = self.client(client).map_or(0, |client| client.renamed + 1);
                vec![(Thing::Client(client.clone()), State::There(label(renamed)))]
            }
            What::Remove { client } => gone(self.world.ledger().of_client(client)),
            What::Grant { client, resource } => {
                let scopes = RESOURCES.iter().find(|(name, _)| name == resource);
                let scopes = scopes.map_or("", |(_, scopes)| *scopes);
                vec![(
                    Thing::grant(client, resource),
                    State::There(scopes.to_owned()),
                )]
            }
            What::Ungrant { client, resource } => {
                let goes_with_it = |thing: &Thing| match thing {
                    Thing::Grant { resource: of, .. } | Thing::Token { resource: of, .. } => {
                        of == resource
                    }
                    _ => false,
                };
                let mut things = self.world.ledger().of_client(client);
                things.retain(goes_with_it);
                gone(things)
            }
            What::ReplaceSecret { old, .. } | What::RemoveSecret { old, .. } => {
                gone(vec![old.clone()])
            }
            What::Revoke { token, .. } => gone(vec![token.clone()]),
            What::AddSecret { .. }
            | What::Issue { .. }
            | What::Introspect { .. }
            | What::RotateKeys
            | What::Look => vec![],
        }
    }

    fn client(&self, id: &str) -> Option<&Client> {
        self.clients.iter().find(|client| client.id == id)
    }

    /// The server did it, and this is its answer.
    fn took(&mut self, what: &What, answer: &Value) {
        let world = Arc::clone(&self.world);
        match what {
            What::Make { client } => {
                self.clients.push(Client {
                    id: client.clone(),
                    ..Client::default()
                });
                self.learn_secret(client, answer);
            }
            What::Remove { client } => self.clients.retain(|known| known.id != *client),
            What::AddSecret { client } => self.learn_secret(client, answer),
            What::ReplaceSecret { client, old } => {
                self.of(client, |client| client.secrets.retain(|known| known != old));
                self.learn_secret(client, answer);
            }
            What::RemoveSecret { client, old } => {
                self.of(client, |client| client.secrets.retain(|known| known != old));
            }
            What::Rename { client } => self.of(client, |client| client.renamed += 1),
            What::Grant { client, resource } => {
                self.of(client, |client| client.grants.push(resource));
            }
            What::Ungrant { client, resource } => self.of(client, |client| {
                client.grants.retain(|granted| granted != resource);
                client.removed.push((resource, Instant::now()));
                client.tokens.retain(
                    |token| !matches!(token, Thing::Token { resource: of, .. } if of == resource),
                );
            }),
            What::Issue {
                client, resource, ..
            } => self.learn_token(client, resource, answer),
            What::Introspect { token } => {
                let active = State::is(answer["active"] == true);
                world.ledger().see(token, &active, "introspection");
            }
            What::Revoke { client, token } => {
                self.of(client, |client| {
                    client.tokens.retain(|known| known != token);
                });
            }
            What::RotateKeys => learn_keys(&world, answer),
            What::Look => {}
        }
    }

    fn of(&mut self, client: &str, change: impl FnOnce(&mut Client)) {
        let client = self.clients.iter_mut().find(|known| known.id == client);
        if let Some(client) = client {
            change(client);
        }
    }

    fn learn_secret(&mut self, client: &str, answer: &Value) {
        let told = (
            answer["credential_id"].as_str(),
            answer["client_secret"].as_str(),
        );
        let (Some(id), Some(secret)) = told else {
            self.world.fail(format!("{client} got no secret"));
            return;
        };
        let thing = Thing::credential(client, id);
        let proof = Some(SecretString::from(secret));
        self.world
            .ledger()
            .learn(thing.clone(), State::there(), proof);
        self.of(client, |client| client.secrets.push(thing));
    }

    fn learn_token(&mut self, client: &str, resource: &str, answer: &Value) {
        let Some(token) = answer["access_token"].as_str() else {
            self.world.fail(format!("{client} got no token"));
            return;
        };
        let thing = Thing::Token {
            client: client.to_owned(),
            resource: resource.to_owned(),
            name: jti(token).unwrap_or_else(|| self.name("opaque")),
        };
        let proof = Some(SecretString::from(token));
        self.world
            .ledger()
            .learn(thing.clone(), State::there(), proof);
        self.of(client, |client| client.tokens.push(thing));
    }

    /// The server did not do it. What it says by that may be that it forgot something.
    fn refused(&mut self, deed: &Deed, status: u16) {
        let Some(thing) = deed.what.denied_by(status) else {
            let Request { method, path, .. } = &deed.request;
            self.world
                .fail(format!("{method} {path}: refused with {status}"));
            return;
        };
        let how = format!("a refusal with {status}");
        self.world.ledger().see(&thing, &State::Gone, &how);
        // It is written down, and nobody is to stumble over it again.
        if let Some(client) = thing.client() {
            self.clients.retain(|known| known.id != client);
        }
    }
}

/// The keys that an administrator is told of are promised to those who verify.
fn learn_keys(world: &World, answer: &Value) {
    for key in answer["keys"].as_array().into_iter().flatten() {
        let Some(kid) = key["kid"].as_str() else {
            continue;
        };
        let (thing, state) = (Thing::Key(kid.to_owned()), signs_from(key));
        let mut ledger = world.ledger();
        if ledger.certain(&thing).is_some() {
            ledger.see(&thing, &state, "the list of keys");
        } else {
            ledger.learn(thing, state, None);
        }
    }
}

/// What is promised of a key.
pub fn signs_from(key: &Value) -> State {
    State::There(format!("signs from {}", key["signs_from"]))
}

/// A request with a token in it.
pub fn about(world: &World, path: &str, token: &Thing) -> Option<Request> {
    let text = world.ledger().secret(token)?.expose_secret().to_owned();
    Some(Request::form(path, vec![("token", text)]))
}

fn gone(things: Vec<Thing>) -> Vec<(Thing, State)> {
    things
        .into_iter()
        .map(|thing| (thing, State::Gone))
        .collect()
}

fn label(renamed: u32) -> String {
    format!("Name {renamed}")
}
