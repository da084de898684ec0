//! The session: a token that is renewed before its end, or replaced by a new login.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::{sync::Mutex, time::Instant};
use tracing::{info, warn};

use super::{Answer, Credentials, Server, ServerError, data};

/// How long a renewal that failed is let be.
const PAUSE: Duration = Duration::from_secs(10);

/// A token, and its life.
pub(super) struct Login {
    pub(super) token: SecretString,
    renewable: bool,
    /// Half of its life is over then. `None`: it does not end.
    renew_from: Option<Instant>,
    ends: Option<Instant>,
}

impl Login {
    /// `lease` is in seconds; 0: it does not end.
    fn new(token: SecretString, lease: u64, renewable: bool) -> Self {
        let (now, life) = (Instant::now(), Duration::from_secs(lease));
        let after = |time| (lease > 0).then(|| now + time);
        Self {
            token,
            renewable,
            renew_from: after(life / 2),
            ends: after(life),
        }
    }
}

/// What the server says of a token.
#[derive(Deserialize)]
struct Auth {
    client_token: SecretString,
    lease_duration: u64,
    renewable: bool,
}

#[derive(Deserialize)]
struct LoggedIn {
    auth: Auth,
}

impl From<LoggedIn> for Login {
    fn from(LoggedIn { auth }: LoggedIn) -> Self {
        Self::new(auth.client_token, auth.lease_duration, auth.renewable)
    }
}

pub(super) struct Session {
    credentials: Credentials,
    login: RwLock<Option<Arc<Login>>>,
    /// Lets one task through that gets another token, while the others wait for it.
    turn: Mutex<()>,
}

impl Session {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            login: RwLock::default(),
            turn: Mutex::default(),
        }
    }

    fn current(&self) -> Option<Arc<Login>> {
        let login = self.login.read().unwrap_or_else(PoisonError::into_inner);
        login.clone()
    }

    fn keep(&self, login: Login) -> Arc<Login> {
        let login = Arc::new(login);
        *self.login.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&login));
        login
    }

    /// A token that is in the first half of its life, if one can be had.
    pub(super) async fn token(&self, server: &Server) -> Result<Arc<Login>, ServerError> {
        let is_young =
            |login: &Arc<Login>| login.renew_from.is_none_or(|from| Instant::now() < from);
        if let Some(login) = self.current().filter(is_young) {
            return Ok(login);
        }
        let _turn = self.turn.lock().await;
        let old = self.current();
        if let Some(login) = old.clone().filter(is_young) {
            return Ok(login);
        }
        match (self.next(server, old.as_deref()).await, old) {
            (Ok(login), _) => Ok(self.keep(login)),
            // The old one is good for a while.
            (Err(error), Some(old)) if old.ends.is_none_or(|end| Instant::now() < end) => {
                warn!("the token at the Vault server is not renewed yet: {error}");
                Ok(self.keep(Login {
                    token: old.token.clone(),
                    renewable: old.renewable,
                    renew_from: Some(Instant::now() + PAUSE),
                    ends: old.ends,
                }))
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn next(&self, server: &Server, old: Option<&Login>) -> Result<Login, ServerError> {
        if let Some(old) = old.filter(|old| old.renewable) {
            let renewed = ask(server, &old.token, "auth/token/renew-self").await;
            match (renewed, &self.credentials) {
                (Ok(body), _) => return Ok(auth(&body)?.into()),
                (Err(error), Credentials::Token(_)) => return Err(error),
                (Err(_), Credentials::AppRole { .. }) => {} // it can log in
            }
        }
        match &self.credentials {
            Credentials::Token(token) => look_up(server, token).await,
            Credentials::AppRole {
                role_id,
                secret_id,
                mount,
            } => {
                let body = json!({
                    "role_id": role_id.expose_secret(), "secret_id": secret_id.expose_secret(),
                });
                let path = format!("auth/{mount}/login");
                match server
                    .introduce(&path, body.to_string().into_bytes())
                    .await?
                {
                    Answer::Done(body) => Ok(auth(&body)?.into()),
                    // Of ids that are wrong it says 400.
                    Answer::Refused(_) => Err(ServerError::Status(403)),
                    Answer::Absent(_) => Err(ServerError::Status(404)),
                }
            }
        }
    }

    /// Another token in the place of one that was refused, if that one is of no use any more and there is another to be had.
    pub(super) async fn replace(
        &self,
        server: &Server,
        refused: &Arc<Login>,
    ) -> Result<Option<Arc<Login>>, ServerError> {
        if let Credentials::Token(_) = self.credentials {
            return Ok(None);
        }
        let _turn = self.turn.lock().await;
        if let Some(login) = self.current().filter(|login| !Arc::ptr_eq(login, refused)) {
            return Ok(Some(login));
        }
        // A token that knows itself is good: then it is the policy that does not allow the request.
        match look_up(server, &refused.token).await {
            Err(ServerError::Status(403)) => {}
            Ok(_) => return Ok(None),
            Err(error) => return Err(error),
        }
        info!("the token at the Vault server is void before its time: logging in again");
        let login = self.next(server, None).await?;
        Ok(Some(self.keep(login)))
    }
}

fn auth(body: &[u8]) -> Result<LoggedIn, ServerError> {
    serde_json::from_slice(body).map_err(|_| ServerError::Unexpected("a login without a token"))
}

async fn ask(
    server: &Server,
    token: &SecretString,
    path: &str,
) -> Result<zeroize::Zeroizing<Vec<u8>>, ServerError> {
    let method = reqwest::Method::POST;
    match server
        .ask_as(token, &method, path, Some(b"{}".to_vec()))
        .await?
    {
        Answer::Done(body) => Ok(body),
        Answer::Refused(_) => Err(ServerError::Status(400)),
        Answer::Absent(_) => Err(ServerError::Status(404)),
    }
}

/// What is left of a token's life.
async fn look_up(server: &Server, token: &SecretString) -> Result<Login, ServerError> {
    #[derive(Deserialize)]
    struct Found {
        ttl: u64,
        #[serde(default)]
        renewable: bool,
    }
    let path = "auth/token/lookup-self";
    match server
        .ask_as(token, &reqwest::Method::GET, path, None)
        .await?
    {
        Answer::Done(body) => {
            let Found { ttl, renewable } = data(&body)?;
            Ok(Login::new(token.clone(), ttl, renewable))
        }
        Answer::Refused(_) => Err(ServerError::Status(400)),
        Answer::Absent(_) => Err(ServerError::Status(404)),
    }
}
