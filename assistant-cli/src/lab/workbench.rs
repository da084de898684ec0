//! What an experiment works with: each request is made in the open and written down.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use m2m::{Clock, TokenError, VerifiedToken, Verifier, watch::watched};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use url::Url;

use super::report::Step;
use crate::{
    api::Servers,
    credentials::{self, Credentials, Places},
    exchange::Exchange,
    failure::{Failure, Kind},
    wire::{Answer, Ask, Auth, Body, Endpoints, Wire},
};

/// Who does what here, for people.
const SELF: &str = "assistant";

/// Whose verifier runs in this process when no service has the wanted one.
const OWN_VERIFIER: &str = "verifier in this process";

/// Where an experiment takes place.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Where the servers are.
    pub servers: Servers,
    /// Where the secrets are.
    pub places: Places,
    /// What time it is.
    pub clock: Clock,
}

/// Something that is told while an experiment goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// What is done next.
    Step(String),
    /// A request and its answer.
    Exchange(Box<Exchange>),
    /// What is to be seen in them, or what a verifier in this process said.
    Remark(String),
}

/// Tells a running experiment to come to an end. Clones belong together.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Says it. What is under way is finished: a change that the provider is making must not be
    /// left behind because nobody waited for its answer.
    pub fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_said(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A token that an experiment has, with what to call it.
#[derive(Clone)]
pub(super) struct Token(pub(super) SecretString);

impl Token {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// The place at which one experiment is carried out.
pub struct Workbench {
    setting: Setting,
    wire: Wire,
    stop: Stop,
    listener: Option<UnboundedSender<Note>>,
    steps: Vec<Step>,
    endpoints: Option<Endpoints>,
    admin: Option<Token>,
    /// Clients that were made, or may have been.
    made: Vec<String>,
}

impl Workbench {
    /// Touches no network. `listener` is told of everything as it happens.
    pub fn new(setting: Setting, stop: Stop, listener: Option<UnboundedSender<Note>>) -> Self {
        Self {
            wire: Wire::new(Arc::new(setting.servers.clone())),
            setting,
            stop,
            listener,
            steps: Vec::new(),
            endpoints: None,
            admin: None,
            made: Vec::new(),
        }
    }

    pub(super) fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    pub(super) fn servers(&self) -> &Servers {
        &self.setting.servers
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.setting.clock
    }

    /// Begins the next step.
    pub(super) fn step(&mut self, what: impl Into<String>) {
        let step = Step::new(what);
        self.tell(Note::Step(step.what.clone()));
        self.steps.push(step);
    }

    /// Says what is to be seen.
    pub(super) fn remark(&mut self, what: impl Into<String>) {
        let remark = what.into();
        self.tell(Note::Remark(remark.clone()));
        self.this_step().remarks.push(remark);
    }

    fn write_down(&mut self, exchange: Exchange) {
        self.tell(Note::Exchange(Box::new(exchange.clone())));
        self.this_step().exchanges.push(exchange);
    }

    fn this_step(&mut self) -> &mut Step {
        if self.steps.is_empty() {
            self.steps.push(Step::new("Get ready."));
        }
        self.steps.last_mut().expect("one was just pushed")
    }

    fn tell(&self, note: Note) {
        if let Some(listener) = &self.listener {
            // Who does not listen any more need not be told.
            let _ = listener.send(note);
        }
    }

    fn go_on(&self) -> Result<(), Failure> {
        if self.stop.is_said() {
            let stopped = "the experiment was stopped; what it had made is removed";
            return Err(Failure::new(Kind::Failed, stopped));
        }
        Ok(())
    }

    async fn send(&mut self, ask: Ask<'_>) -> Result<Answer, Failure> {
        self.go_on()?;
        let (exchange, answer) = self.wire.send(ask).await;
        self.write_down(exchange);
        answer
    }

    /// The assistant itself.
    pub(super) fn assistant(&self) -> Result<Credentials, Failure> {
        credentials::find(&self.setting.places)
    }

    /// Another client of the demo, whose secret is in the same file.
    pub(super) fn client(&self, name: &str) -> Result<Credentials, Failure> {
        self.setting.places.entry(name)
    }

    async fn endpoints(&mut self) -> Result<Endpoints, Failure> {
        if let Some(endpoints) = &self.endpoints {
            return Ok(endpoints.clone());
        }
        self.go_on()?;
        let (exchange, endpoints) = self.wire.endpoints(SELF).await;
        if let Some(exchange) = exchange {
            self.write_down(*exchange);
        }
        let endpoints = endpoints?;
        self.endpoints = Some(endpoints.clone());
        Ok(endpoints)
    }

    /// Asks for a token (RFC 6749 section 4.4); a refusal is an answer.
    pub(super) async fn ask_for_token(
        &mut self,
        client: &Credentials,
        resource: &str,
        scope: &str,
    ) -> Result<Result<Token, Answer>, Failure> {
        let url = self.endpoints().await?.token()?;
        let mut form = vec![("grant_type", "client_credentials"), ("resource", resource)];
        if !scope.is_empty() {
            form.push(("scope", scope));
        }
        let answer = self
            .send(Ask {
                from: &client.client_id,
                method: Method::POST,
                url,
                auth: Auth::Client(client),
                body: Body::Form(&form),
            })
            .await?;
        Ok(match answer.json()["access_token"].as_str() {
            Some(token) if answer.is_success() => Ok(Token::new(token)),
            _ => Err(answer),
        })
    }

    /// A token that has to be had.
    pub(super) async fn token(
        &mut self,
        client: &Credentials,
        resource: &str,
        scope: &str,
    ) -> Result<Token, Failure> {
        let asked = self.ask_for_token(client, resource, scope).await?;
        asked.map_err(|answer| {
            let said = answer.words();
            let who = &client.client_id;
            Failure::new(
                Kind::Refused,
                format!("auth-provider gives {who} no token for {resource}: {said}"),
            )
            .hint(format!(
                "does {} fit to this provider, and does the policy have the arrow? \
                 demo/policy.toml has it",
                client.origin
            ))
        })
    }

    /// Calls a service with a token.
    pub(super) async fn call(
        &mut self,
        from: &str,
        method: Method,
        url: Url,
        token: &Token,
    ) -> Result<Answer, Failure> {
        self.send(Ask {
            from,
            method,
            url,
            auth: Auth::Bearer(&token.0),
            body: Body::Empty,
        })
        .await
    }

    /// The same, where anything but a success means that the experiment makes no sense.
    pub(super) async fn call_well(&mut self, url: Url, token: &Token) -> Result<(), Failure> {
        let to = self.wire.names().at(&url);
        let answer = self.call(SELF, Method::GET, url, token).await?;
        if answer.is_success() {
            return Ok(());
        }
        let said = answer.words();
        Err(Failure::new(
            Kind::Refused,
            format!("{to} does not even take a good token: {said}"),
        )
        .hint(format!(
            "does {to} trust the issuer {}?",
            self.setting.servers.issuer
        )))
    }

    /// Takes a token back (RFC 7009). Only those that the experiment fetched are given here.
    pub(super) async fn revoke(
        &mut self,
        client: &Credentials,
        token: &Token,
    ) -> Result<(), Failure> {
        let url = self.endpoints().await?.revocation()?;
        let answer = self.about_token(client, url, token).await?;
        if answer.is_success() {
            return Ok(());
        }
        let said = answer.words();
        Err(Failure::new(
            Kind::Refused,
            format!("auth-provider does not take the token back: {said}"),
        ))
    }

    /// Asks what a token is worth (RFC 7662): `active`.
    pub(super) async fn introspect(
        &mut self,
        client: &Credentials,
        token: &Token,
    ) -> Result<bool, Failure> {
        let url = self.endpoints().await?.introspection()?;
        let answer = self.about_token(client, url, token).await?;
        Ok(answer.json()["active"] == true)
    }

    async fn about_token(
        &mut self,
        client: &Credentials,
        url: Url,
        token: &Token,
    ) -> Result<Answer, Failure> {
        self.send(Ask {
            from: &client.client_id,
            method: Method::POST,
            url,
            auth: Auth::Client(client),
            body: Body::Form(&[("token", token.expose())]),
        })
        .await
    }

    /// Has a verifier of this process judge a token, and writes down what it asked the issuer.
    pub(super) async fn verify(
        &mut self,
        verifier: &Verifier,
        token: &Token,
    ) -> Result<Result<Arc<VerifiedToken>, TokenError>, Failure> {
        self.go_on()?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (tell, names) = (Arc::clone(&seen), self.wire.names().clone());
        let tell = move |exchange| {
            let exchange = names.seen(OWN_VERIFIER, &exchange);
            let mut seen = tell.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push(exchange);
        };
        let verdict = watched(tell, verifier.verify(token.expose())).await;
        let seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
        for exchange in seen {
            self.write_down(exchange);
        }
        if let Err(TokenError::IssuerUnavailable) = verdict {
            let message = "the verifier in this process cannot ask auth-provider";
            return Err(Failure::new(Kind::Unreachable, message)
                .hint("is auth-provider running? see --issuer"));
        }
        Ok(verdict)
    }

    /// Tries again and again until `refused` or until `patience` is over, and says when it was.
    /// What is asked in between is not written down, only how often.
    pub(super) async fn until_refused(
        &mut self,
        from: &str,
        url: &Url,
        token: &Token,
        patience: Duration,
    ) -> Result<Option<Duration>, Failure> {
        let began = Instant::now();
        let mut asked = 0_u32;
        let refused = loop {
            self.go_on()?;
            let ask = Ask {
                from,
                method: Method::GET,
                url: url.clone(),
                auth: Auth::Bearer(&token.0),
                body: Body::Empty,
            };
            let (exchange, answer) = self.wire.send(ask).await;
            asked += 1;
            let refused = !answer?.is_success();
            if refused || began.elapsed() >= patience {
                let after = began.elapsed();
                self.write_down(exchange);
                break refused.then_some(after);
            }
            tokio::time::sleep(pause(asked)).await;
        };
        if asked > 1 {
            let times = match asked - 1 {
                1 => "once".to_owned(),
                times => format!("{times} times"),
            };
            self.remark(format!(
                "Before that it was asked {times}, and accepted the token."
            ));
        }
        Ok(refused)
    }

    /// The same with a verifier of this process.
    pub(super) async fn until_verifier_refuses(
        &mut self,
        verifier: &Verifier,
        token: &Token,
        patience: Duration,
    ) -> Result<Option<Duration>, Failure> {
        let began = Instant::now();
        for asked in 1.. {
            if self.verify(verifier, token).await?.is_err() {
                return Ok(Some(began.elapsed()));
            }
            if began.elapsed() >= patience {
                break;
            }
            tokio::time::sleep(pause(asked)).await;
        }
        Ok(None)
    }

    /// Asks the admin API, as the client `admin`.
    pub(super) async fn administer(
        &mut self,
        method: Method,
        path: &str,
        body: Body<'_>,
    ) -> Result<Answer, Failure> {
        let token = self.admin_token().await?;
        let url = self.admin_url(path).await?;
        let answer = self
            .send(Ask {
                from: "admin",
                method,
                url,
                auth: Auth::Bearer(&token.0),
                body,
            })
            .await?;
        if answer.is_success() {
            return Ok(answer);
        }
        let said = answer.words();
        Err(Failure::new(
            Kind::Refused,
            format!("the admin API refused {path}: {said}"),
        ))
    }

    async fn admin_token(&mut self) -> Result<Token, Failure> {
        if let Some(token) = &self.admin {
            return Ok(token.clone());
        }
        let admin = self.client("admin")?;
        let token = self.token(&admin, "auth-provider", "").await?;
        self.admin = Some(token.clone());
        Ok(token)
    }

    /// The admin API is on the server of the token endpoint.
    async fn admin_url(&mut self, path: &str) -> Result<Url, Failure> {
        let mut url = self.endpoints().await?.token()?;
        url.set_path(&format!("/admin/v1/{path}"));
        Ok(url)
    }

    /// Makes a client that lives as long as the experiment.
    pub(super) async fn make_client(&mut self, name: &str) -> Result<Credentials, Failure> {
        // The end of a request's name is random: 48 bits of it will do.
        let named = m2m::trace::request_id();
        let client_id = format!("lab-{}", &named[named.len() - 8..]);
        // Before it is made: whether the request was carried out is not always known.
        self.made.push(client_id.clone());
        let wish = json!({
            "client_id": client_id,
            "name": name,
            "description": DESCRIPTION,
        });
        let answer = self
            .administer(Method::POST, "clients", Body::Json(&wish))
            .await?;
        secret_in(&client_id, &answer)
    }

    /// Removes what was made, also after a failure, and after the experiment was told to stop.
    ///
    /// # Errors
    /// Names what is left, and how to remove it.
    pub(super) async fn tidy_up(&mut self) -> Result<(), Failure> {
        for client_id in std::mem::take(&mut self.made) {
            self.step("Tidy up: the client of this experiment goes, and all that it has.");
            self.remove(&client_id).await?;
        }
        Ok(())
    }

    async fn remove(&mut self, client_id: &str) -> Result<(), Failure> {
        let left = |why: String| {
            let message = format!("the client {client_id} is left at the provider: {why}");
            Failure::new(Kind::Failed, message).hint(format!(
                "remove it: `cargo run -p auth-provider -- client delete {client_id}`"
            ))
        };
        // Nothing was made without them.
        let (Some(token), Some(endpoints)) = (self.admin.clone(), self.endpoints.clone()) else {
            return Ok(());
        };
        let mut url = endpoints.token()?;
        url.set_path(&format!("/admin/v1/clients/{client_id}"));
        let ask = Ask {
            from: "admin",
            method: Method::DELETE,
            url,
            auth: Auth::Bearer(&token.0),
            body: Body::Empty,
        };
        // Not `send`: this is done also when the experiment was told to stop.
        let (exchange, answer) = self.wire.send(ask).await;
        self.write_down(exchange);
        let answer = answer.map_err(|failure| left(failure.message))?;
        if answer.is_success() || answer.status == 404 {
            return Ok(());
        }
        Err(left(answer.words()))
    }
}

/// What the clients of experiments have as their description.
pub(super) const DESCRIPTION: &str = "Made by `assistant lab`, and removed at its end";

/// Short at first, when every millisecond is of interest.
fn pause(asked: u32) -> Duration {
    Duration::from_millis(if asked < 100 { 10 } else { 100 })
}

/// A path below a service's URL.
pub(super) fn at(base: &Url, path: &str) -> Result<Url, Failure> {
    let text = format!("{}/{path}", base.as_str().trim_end_matches('/'));
    text.parse()
        .map_err(|_| Failure::new(Kind::Usage, format!("{base} is no address of a service")))
}

/// What a value of the provider says, as a text.
pub(super) fn text(value: &Value) -> Result<&str, Failure> {
    let missing = || Failure::new(Kind::Failed, "the admin API answered something else");
    value.as_str().ok_or_else(missing)
}

/// The secret that only this answer shows.
pub(super) fn secret_in(client_id: &str, answer: &Answer) -> Result<Credentials, Failure> {
    let answer = answer.json();
    Ok(Credentials {
        client_id: client_id.to_owned(),
        client_secret: text(&answer["client_secret"])?.into(),
        origin: "the admin API".to_owned(),
    })
}
