//! The drill: a provider at work is backed up, its machine is lost, and another one goes on in its place.

use std::{
    cell::{Cell, RefCell},
    fs,
    path::Path,
    process::Child,
    rc::Rc,
    time::{Duration, Instant},
};

use reqwest::{Client, Response};
use serde_json::Value;
use tempfile::TempDir;

use super::{command, ran, run};
use crate::{
    process::{in_folder, started, terminate},
    store_contract::fresh_postgres_url,
    support::{folder, json, secret_in},
};

/// Its tokens name it wherever it runs.
const NAME: &str = "https://auth.example";

/// A provider in a folder of its own.
struct Provider {
    child: Child,
    url: String,
    folder: TempDir,
    http: Client,
}

impl Provider {
    fn start(folder: TempDir, database: Option<&str>) -> Self {
        let mut command = in_folder(folder.path());
        command.args(["--public-url", NAME]);
        // Nobody reads its log while it runs, and a pipe is soon full.
        command.env("RUST_LOG", "error,auth_provider::startup=info");
        if let Some(url) = database {
            command.args(["--database-url", url]);
        }
        let (child, address) = started(&mut command);
        Self {
            child,
            url: format!("http://{address}"),
            folder,
            http: m2m::http_client(Duration::from_secs(30)),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// An administrator's command.
    fn admin(&self, arguments: &[&str]) -> Value {
        run(
            self.path(),
            &[arguments, &["--json", "--url", &self.url]].concat(),
        )
        .json()
    }

    async fn post(&self, path: &str, who: (&str, &str), form: &[(&str, &str)]) -> Response {
        let request = self.http.post(format!("{}{path}", self.url));
        let request = request.basic_auth(who.0, Some(who.1)).form(form);
        request.send().await.unwrap()
    }

    fn secret(&self, client: &str) -> String {
        secret_in(&self.path().join("clients.json"), client)
    }

    async fn token(&self, client: &str, secret: &str, resource: &str) -> String {
        let form = [("grant_type", "client_credentials"), ("resource", resource)];
        let answer = json(self.post("/oauth/token", (client, secret), &form).await).await;
        answer["access_token"]
            .as_str()
            .expect("it is granted")
            .to_owned()
    }

    async fn is_active(&self, owner: &str, token: &str) -> bool {
        let form = [("token", token)];
        let secret = self.secret(owner);
        let answer = self
            .post("/oauth/introspect", (owner, &secret), &form)
            .await;
        json(answer).await["active"].as_bool().unwrap()
    }

    async fn key_set(&self) -> Value {
        let keys = self.http.get(format!("{}/.well-known/jwks.json", self.url));
        json(keys.send().await.unwrap()).await
    }

    /// The numbers of the events and their actions, the last one first.
    fn events(&self) -> Vec<(i64, String)> {
        let events = self.admin(&["audit", "--limit=1000000"]);
        let event = |event: &Value| {
            let action = event["action"].as_str().unwrap().to_owned();
            (event["number"].as_i64().unwrap(), action)
        };
        events.as_array().unwrap().iter().map(event).collect()
    }

    fn stop(mut self) -> TempDir {
        terminate(&self.child);
        assert!(self.child.wait().unwrap().success());
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is known of the provider that is lost.
struct Known {
    backup: TempDir,
    secret: String,
    live: Vec<String>,
    opaque: String,
    revoked: String,
    key_set: Value,
    clients_file: Vec<u8>,
    /// There are so many events of before at the least, and so many at the most.
    events: (i64, i64),
}

/// A provider that works, and a backup that was made meanwhile.
async fn lost(database: Option<&str>) -> Known {
    let provider = Rc::new(Provider::start(folder(), database));
    let made = ["client", "create", "made", "--print-secret"];
    let secret = provider.admin(&made)["client_secret"]
        .as_str()
        .unwrap()
        .to_owned();
    provider.admin(&[
        "grant",
        "create",
        "--client=made",
        "--resource=notes",
        "--scope=note.read",
    ]);
    provider.admin(&["key", "rotate", "--alg=ES256"]);
    let opaque = provider
        .token("courier", &provider.secret("courier"), "lab")
        .await;
    let revoked = provider.token("made", &secret, "notes").await;
    let form = [("token", revoked.as_str())];
    let answer = provider
        .post("/oauth/revoke", ("made", &secret), &form)
        .await;
    assert_eq!(answer.status(), 200);

    let live = Rc::new(RefCell::new(vec![
        provider.token("made", &secret, "notes").await,
    ]));
    let stop = Rc::new(Cell::new(false));
    let load = (0..4).map(|_| {
        let (provider, secret) = (Rc::clone(&provider), secret.clone());
        let (live, stop) = (Rc::clone(&live), Rc::clone(&stop));
        actix_web::rt::spawn(async move {
            while !stop.get() {
                let token = provider.token("made", &secret, "notes").await;
                live.borrow_mut().push(token);
            }
        })
    });
    let load: Vec<_> = load.collect();
    let backup = tempfile::tempdir().unwrap();
    let at = |name: &str| backup.path().join(name).display().to_string();
    run(provider.path(), &["backup", "new-key", &at("key")]).done();
    let (file, key) = (at("backup"), at("key"));
    let mut arguments = vec!["backup", &file, "--key-file", &key, "--json"];
    if let Some(url) = database {
        arguments.extend(["--database-url", url]);
    }
    let mut before = 0;
    let deadline = Instant::now() + Duration::from_mins(1);
    while before < 50 {
        assert!(Instant::now() < deadline, "no tokens are issued");
        before = live.borrow().len();
        tokio::task::yield_now().await;
    }
    let backing_up = command(provider.path(), &arguments);
    let made = tokio::task::spawn_blocking(move || ran(backing_up).json());
    let made = made.await.unwrap();
    assert!(live.borrow().len() > before, "tokens were issued meanwhile");
    stop.set(true);
    for task in load {
        task.await.unwrap();
    }

    let log = fs::read(at("backup")).unwrap();
    let secrets = [&secret, &provider.secret("bot"), &provider.secret("admin")];
    for secret in secrets {
        assert!(
            !log.windows(secret.len())
                .any(|part| part == secret.as_bytes())
        );
    }
    let rows = |table: &str| {
        let tables = made["tables"].as_array().unwrap();
        let found = tables.iter().find(|found| found["table"] == table);
        found.unwrap()["rows"].as_i64().unwrap()
    };
    let (rows, packs) = (rows("audit_event"), rows("audit_pack"));
    let live = live.take();
    let known = Known {
        secret,
        live,
        opaque,
        revoked,
        key_set: provider.key_set().await,
        clients_file: fs::read(provider.path().join("clients.json")).unwrap(),
        events: (rows + 16 * packs, rows + 512 * packs), // none was forgotten yet
        backup,
    };
    assert!(known.key_set["keys"].as_array().unwrap().len() > 1);
    // The machine burns.
    drop(provider);
    known
}

/// A machine with nothing but a policy, on which the backup is restored.
fn restored(known: &Known, database: Option<&str>, more: &[&str]) -> Provider {
    let folder = folder();
    let at = |name: &str| known.backup.path().join(name).display().to_string();
    let (file, key) = (at("backup"), at("key"));
    let mut arguments = vec!["restore", &file, "--key-file", &key];
    arguments.extend(more);
    if let Some(url) = database {
        arguments.extend(["--database-url", url]);
    }
    run(folder.path(), &arguments).done();
    Provider::start(folder, database)
}

async fn assert_goes_on(known: &Known, provider: Provider, database: Option<&str>) {
    assert_eq!(provider.key_set().await, known.key_set);
    let (first, last) = (&known.live[0], known.live.last().unwrap());
    let many = known.live.iter().step_by(known.live.len() / 10);
    for token in many.chain([first, last]) {
        assert!(provider.is_active("notes-server", token).await);
    }
    assert!(provider.is_active("lab-server", &known.opaque).await);
    assert!(!provider.is_active("notes-server", &known.revoked).await);
    let clients_file = fs::read(provider.path().join("clients.json")).unwrap();
    assert_eq!(clients_file, known.clients_file, "no secret was made anew");

    let new = provider.token("made", &known.secret, "notes").await;
    assert!(provider.is_active("notes-server", &new).await);
    let form = [("token", new.as_str())];
    let revoked = provider.post("/oauth/revoke", ("made", &known.secret), &form);
    assert_eq!(revoked.await.status(), 200);

    let events = provider.events();
    let numbers: Vec<i64> = events.iter().map(|(number, _)| *number).collect();
    assert!(
        numbers.is_sorted_by(|later, earlier| later > earlier),
        "{numbers:?}"
    );
    let restored = events
        .iter()
        .find(|(_, action)| action == "database.restored");
    let restored = restored.unwrap().0;
    let of_before: Vec<i64> = (numbers.iter().copied())
        .filter(|number| *number < restored)
        .rev()
        .collect();
    let last = of_before.len().cast_signed() as i64;
    assert!(of_before.iter().copied().eq(1..=last), "none is missing");
    assert!((known.events.0..=known.events.1).contains(&last), "{last}");
    // PostgreSQL may have handed out numbers since the moment of the backup: they are not handed out again.
    assert!((last + 1..last + 1000).contains(&restored));
    let issued = |(number, action): &&(i64, String)| action == "token.issued" && *number > restored;
    assert!(events.iter().any(|event| issued(&event)));

    // It is a provider like any other: it can be stopped and started, and goes on.
    let folder = provider.stop();
    let provider = Provider::start(folder, database);
    assert!(provider.is_active("notes-server", first).await);
    assert!(!provider.is_active("notes-server", &known.revoked).await);
    assert!(!provider.is_active("notes-server", &new).await);
}

#[actix_web::test]
async fn another_machine_goes_on_where_the_lost_one_was_backed_up() {
    let known = lost(None).await;
    assert_goes_on(&known, restored(&known, None, &[]), None).await;
    if let Some(url) = fresh_postgres_url().await {
        let provider = restored(&known, Some(&url), &[]);
        assert_goes_on(&known, provider, Some(&url)).await;
    }
}

#[actix_web::test]
async fn a_backup_of_postgresql_is_restored_into_either_database() {
    let Some(url) = fresh_postgres_url().await else {
        return;
    };
    let known = lost(Some(&url)).await;
    assert_goes_on(&known, restored(&known, None, &[]), None).await;
    let other = fresh_postgres_url().await.unwrap();
    let provider = restored(&known, Some(&other), &[]);
    assert_goes_on(&known, provider, Some(&other)).await;
}

/// Who cannot know what was revoked after the backup takes everything back.
#[actix_web::test]
async fn all_tokens_can_be_revoked_with_the_restoration() {
    let known = lost(None).await;
    let provider = restored(&known, None, &["--revoke-tokens"]);
    for token in [&known.live[0], known.live.last().unwrap(), &known.revoked] {
        assert!(!provider.is_active("notes-server", token).await);
    }
    assert!(!provider.is_active("lab-server", &known.opaque).await);
    // What is issued in the second of the restoration is taken back with the rest.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let new = provider.token("made", &known.secret, "notes").await;
        if provider.is_active("notes-server", &new).await {
            break;
        }
        assert!(Instant::now() < deadline, "no new token is good");
    }
    let feed = provider
        .http
        .get(format!("{}/oauth/revocations", provider.url));
    let feed = feed.basic_auth("notes-server", Some(provider.secret("notes-server")));
    let feed = json(feed.send().await.unwrap()).await;
    let entries = feed["revocations"].as_array().unwrap();
    let clients = entries.iter().filter(|entry| entry["kind"] == "client");
    assert!(clients.clone().any(|entry| entry["client_id"] == "made"));
    for entry in clients {
        assert!(
            entry["number"].as_u64().unwrap() > 1_000_000,
            "numbers are not handed out twice"
        );
    }
}
