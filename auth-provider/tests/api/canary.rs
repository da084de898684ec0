//! Texts that nobody may see again go in, at every place where a caller may put a text, and come out nowhere: not in an
//! answer, the log, the metrics, the audit log, or a file.

use std::{
    fs::{self, File},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::{StreamExt, stream};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, Connection, Executor, Row, SqliteConnection, sqlite::SqliteConnectOptions,
};
use tempfile::TempDir;

use crate::{
    administrator::Administrator,
    process::{in_folder, terminate},
    support::{POLICY, Server, folder, secret_in},
};

/// What is looked for, in small letters: as it is, as hexadecimal digits, and in base64, wherever in its groups of three
/// bytes it begins.
const MARKS: [&str; 5] = ["c4n4ry", "43346e347279", "qzrunhj5", "m0bjrye", "dng40cn"];

/// A text that looks like a secret, and that the server would take as a client id, a resource or a scope.
const PLAIN: &str = "m2m_C4n4ryC4n4ryC4n4ryC4n4ryC4n4ry";

/// A text that it takes as nothing.
const ODD: &str = "C4n4ry\u{7}\"\\ é`, expected C4n4ry";

/// What an administrator may say and see, and what still is nobody else's affair.
const SAID: &str = "Acc3pt3d";

/// A path, which methods it answers, and what it reads: members of a body and parameters of the URL.
struct Place {
    path: &'static str,
    members: &'static [&'static str],
    /// Members that take any text, so that only an odd one is refused.
    free: &'static [&'static str],
    parameters: &'static [&'static str],
}

const fn place(
    path: &'static str,
    members: &'static [&'static str],
    free: &'static [&'static str],
    parameters: &'static [&'static str],
) -> Place {
    Place {
        path,
        members,
        free,
        parameters,
    }
}

const OAUTH: &[&str] = &[
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "resource",
    "audience",
    "scope",
    "token",
    "token_type_hint",
];

/// Below `/oauth`, `/auth/oauth` and at the root.
const SURFACE: &[Place] = &[
    place("/oauth/token", OAUTH, &[], &[]),
    place("/oauth/introspect", OAUTH, &[], &[]),
    place("/oauth/revoke", OAUTH, &[], &[]),
    place("/oauth/revocations", &[], &[], &[]),
    place(
        "/oauth/authorize",
        &[],
        &[],
        &["client_id", "state", "redirect_uri"],
    ),
    place("/auth/oauth/token", OAUTH, &[], &[]),
    place(
        "/.well-known/oauth-authorization-server/auth",
        &[],
        &[],
        &[],
    ),
    place("/.well-known/oauth-authorization-server", &[], &[], &[]),
    place("/.well-known/openid-configuration/auth", &[], &[], &[]),
    place("/.well-known/openid-configuration", &[], &[], &[]),
    place(
        "/auth/.well-known/oauth-authorization-server",
        &[],
        &[],
        &[],
    ),
    place("/auth/.well-known/openid-configuration", &[], &[], &[]),
    place("/jwt/jwks.json", &[], &[], &[]),
    place("/.well-known/jwks.json", &[], &[], &[]),
    place("/auth/jwt/jwks.json", &[], &[], &[]),
    place("/auth/.well-known/jwks.json", &[], &[], &[]),
    place("/metrics", &[], &[], &[]),
    place("/accesstoken", &["target"], &[], &["target"]),
    place("/clients/register", METADATA, METADATA, &[]),
    place("/clients/register/{client_id}", METADATA, METADATA, &[]),
    place("/v1/m2m/clients", PROJECT, PROJECT, &[]),
    place("/v1/m2m/clients/", PROJECT, PROJECT, &[]),
    place(
        "/v1/m2m/clients/search",
        &["cursor", "limit", "query"],
        &[],
        &[],
    ),
    place(
        "/v1/m2m/clients/{client_id}",
        PROJECT,
        PROJECT,
        &["client_id"],
    ),
    place(
        "/v1/m2m/clients/{client_id}/secrets/rotate",
        PROJECT,
        PROJECT,
        &[],
    ),
    place(
        "/v1/m2m/clients/{client_id}/secrets/rotate/start",
        PROJECT,
        PROJECT,
        &[],
    ),
    place(
        "/v1/m2m/clients/{client_id}/secrets/rotate/cancel",
        PROJECT,
        PROJECT,
        &[],
    ),
    place("/v1/public/{project}/oauth2/token", OAUTH, &[], &[]),
    place("/v1/sessions/jwks/{project}", &[], &[], &["project_id"]),
    place("/v1/b2b/sessions/jwks/{project}", &[], &[], &[]),
    place("/v1", &[], &[], &[]),
    place("/recipe/jwt", RECIPE, &[], &[]),
    place(
        "/recipe/oauth/clients",
        RECIPE,
        &["clientId", "clientName"],
        RECIPE,
    ),
    place(
        "/recipe/oauth/clients/list",
        &[],
        &[],
        &["pageSize", "pageToken", "clientName"],
    ),
    place("/recipe/oauth/clients/remove", RECIPE, &[], &[]),
    place("/recipe/oauth/token", RECIPE, &[], &[]),
    place("/recipe/oauth/token/revoke", RECIPE, &[], &[]),
    place("/recipe/oauth/tokens/revoke", RECIPE, &[], &[]),
    place("/recipe/oauth/introspect", RECIPE, &[], &[]),
    place("/apiversion", &[], &[], &["apiDomain", "websiteDomain"]),
    place("/hello", &[], &[], &[]),
    place("/health", &[], &[], &[]),
    place("/ready", &[], &[], &[]),
    place("/{nothing}", &[], &[], &[]),
];

/// Below `/recipe`.
const RECIPE: &[&str] = &[
    "payload",
    "validity",
    "algorithm",
    "jwksDomain",
    "useStaticSigningKey",
    "clientId",
    "clientName",
    "clientSecret",
    "scope",
    "audience",
    "grantTypes",
    "metadata",
    "redirectUris",
    "inputBody",
    "authorizationHeader",
    "token",
    "client_id",
    "client_secret",
];

const METADATA: &[&str] = &[
    "client_name",
    "redirect_uris",
    "grant_types",
    "response_types",
    "token_endpoint_auth_method",
    "scope",
    "contacts",
    "software_id",
    "jwks_uri",
    "client_id",
    "client_secret",
];

const PROJECT: &[&str] = &[
    "client_id",
    "client_secret",
    "client_name",
    "client_description",
    "status",
    "scopes",
    "trusted_metadata",
];

/// Below `/admin/v1`.
const ADMINISTRATION: &[Place] = &[
    place(
        "/clients",
        &["client_id", "name", "description", "status", "metadata"],
        &["client_id", "name", "description"],
        &["status", "prefix", "name", "limit", "cursor"],
    ),
    place(
        "/clients/{client_id}",
        &["name", "description", "status", "metadata"],
        &[],
        &[],
    ),
    place(
        "/clients/{client_id}/credentials",
        &["label", "expires_at"],
        &[],
        &[],
    ),
    place(
        "/clients/{client_id}/credentials/{credential_id}",
        &["label", "expires_at"],
        &[],
        &[],
    ),
    place(
        "/clients/{client_id}/credentials/{credential_id}/rotate",
        &["label", "grace"],
        &[],
        &[],
    ),
    place(
        "/clients/{client_id}/credentials/{credential_id}/rotation",
        &["label", "expires_at"],
        &[],
        &[],
    ),
    place(
        "/clients/{client_id}/credentials/{credential_id}/rotation/finish",
        &[],
        &[],
        &[],
    ),
    place(
        "/clients/{client_id}/credentials/{credential_id}/compromised",
        &[],
        &[],
        &[],
    ),
    place(
        "/resources",
        &[
            "resource",
            "name",
            "scopes",
            "owner",
            "token_format",
            "signing_alg",
            "token_lifetime",
        ],
        &["resource", "name"],
        &["limit", "cursor"],
    ),
    place(
        "/resources/{resource}",
        &[
            "name",
            "scopes",
            "owner",
            "token_format",
            "signing_alg",
            "token_lifetime",
        ],
        &[],
        &[],
    ),
    place(
        "/grants",
        &[
            "client_id",
            "resource",
            "scopes",
            "token_lifetime",
            "expires_at",
            "reason",
        ],
        &[],
        &["client_id", "resource", "limit", "cursor"],
    ),
    place(
        "/grants/{client_id}/{resource}",
        &["scopes", "token_lifetime", "expires_at", "reason"],
        &[],
        &[],
    ),
    place(
        "/audit",
        &[],
        &[],
        &[
            "client_id",
            "resource",
            "action",
            "outcome",
            "request_id",
            "since",
            "until",
            "limit",
            "cursor",
        ],
    ),
    place("/policy", &[], &[], &[]),
    place("/policy/plan", &[], &[], &["prune"]),
    place("/policy/apply", &[], &[], &["prune"]),
    place("/policy/graph", &[], &[], &[]),
    place("/explain", &["client_id", "resource", "scope"], &[], &[]),
    place("/keys", &[], &[], &[]),
    place("/keys/rotate", &["alg"], &[], &[]),
    place("/keys/{kid}/compromised", &[], &[], &[]),
    place(
        "/revocations",
        &["client_id", "resource", "credential"],
        &[],
        &[],
    ),
    place("/openapi.json", &[], &[], &[]),
    place("/docs", &[], &[], &[]),
    place("/{nothing}", &[], &[], &[]),
];

/// Parts of paths that are no path by themselves.
const PARTS: &[&str] = &[
    "/",
    "/auth",
    "/recipe",
    "/admin/v1",
    "/<wbr>",
    "/admin/v1{path}",
];

/// Every text in the surface's code that looks like a path.
fn paths_in_the_code(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            paths_in_the_code(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            let code = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                let starts = line.match_indices("\"/").map(|(at, _)| &line[at + 1..]);
                let ends = starts.filter_map(|rest| rest.split_once('"').map(|(path, _)| path));
                found.extend(ends.map(str::to_owned));
            }
        }
    }
}

#[test]
fn every_route_is_among_the_places() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http");
    let mut found = vec![];
    paths_in_the_code(&src, &mut found);
    assert!(found.contains(&"/token".to_owned()), "{found:?}");
    let known: Vec<&str> = SURFACE
        .iter()
        .chain(ADMINISTRATION)
        .map(|place| place.path)
        .collect();
    for path in found {
        let in_oauth = format!("/oauth{path}");
        let in_registration = format!("/clients/register{path}");
        let in_recipe = format!("/recipe{path}");
        let is_known = known.contains(&path.as_str())
            || known.contains(&in_oauth.as_str())
            || known.contains(&in_registration.as_str())
            || known.contains(&in_recipe.as_str())
            || PARTS.contains(&path.as_str());
        assert!(is_known, "{path} is new: add it to the places of this test");
    }
}

/// A client that administers clients of its own.
const PROJECT_POLICY: &str = "
    [resources.project]
    owner = 'project'
    token_profile = 'stytch'
    signing_alg = 'RS256'
    [clients.project]
    ";

/// The program with a log that is kept.
struct Program {
    child: Child,
    url: String,
    folder: TempDir,
    http: Client,
}

impl Program {
    fn start() -> Self {
        let folder = folder();
        let policy = format!("{POLICY}{PROJECT_POLICY}");
        fs::write(folder.path().join("policy.toml"), policy).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = in_folder(folder.path())
            .args(["--dynamic-registration", "--rate-limit-failures=off"])
            .env("RUST_LOG", "info,auth_provider=trace,m2m=trace")
            .stdout(log.try_clone().unwrap())
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        let mut program = Self {
            child,
            url: String::new(),
            folder,
            http: m2m::http_client(Duration::from_secs(30)),
        };
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let log = program.log();
            let address = log.split("listening on ").nth(1);
            if let Some((address, _)) = address.and_then(|rest| rest.split_once(',')) {
                program.url = format!("http://{address}");
                TcpStream::connect(address).unwrap();
                return program;
            }
            assert!(Instant::now() < deadline, "it does not start: {log}");
        }
    }

    fn log(&self) -> String {
        let log = fs::read(self.folder.path().join("log")).unwrap();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let files = fs::read_dir(self.folder.path().join("data")).unwrap();
        let paths = files.map(|file| file.unwrap().path());
        paths
            .filter_map(|path| fs::read(&path).ok().map(|bytes| (path, bytes)))
            .collect()
    }

    fn secret(&self, client: &str) -> String {
        secret_in(&self.folder.path().join("clients.json"), client)
    }

    /// A backup of the running server, and what must not stand in it: the secrets that are in it encrypted.
    fn backup(&self) -> (Vec<u8>, Vec<String>) {
        let run = |arguments: &[&str]| {
            let mut command = crate::process::program();
            let output = command
                .current_dir(self.folder.path())
                .args(arguments)
                .output();
            assert!(output.unwrap().status.success(), "{arguments:?}");
        };
        run(&["backup", "new-key", "backup.key"]);
        run(&["backup", "made.backup", "--key-file=backup.key"]);
        let read = |name: &str| fs::read_to_string(self.folder.path().join(name)).unwrap();
        let mut secrets = vec![read("backup.key"), read("data/master.key")];
        let entries: Value = serde_json::from_str(&read("clients.json")).unwrap();
        for entry in entries.as_object().unwrap().values() {
            secrets.push(entry["clientSecret"].as_str().unwrap().to_owned());
        }
        for secret in &mut secrets {
            *secret = secret.trim().to_owned();
        }
        (
            fs::read(self.folder.path().join("made.backup")).unwrap(),
            secrets,
        )
    }

    fn request(&self, method: &Method, path: &str) -> RequestBuilder {
        self.http
            .request(method.clone(), format!("{}{path}", self.url))
    }

    async fn token(&self, client: &str, resource: &str) -> String {
        let form = [("grant_type", "client_credentials"), ("resource", resource)];
        let request = self.request(&Method::POST, "/oauth/token").form(&form);
        let request = request.basic_auth(client, Some(self.secret(client)));
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks for what must not be seen.
#[derive(Default)]
struct Watch {
    secrets: Vec<String>,
    leaks: Vec<String>,
}

impl Watch {
    fn look(&mut self, bytes: &[u8], place: &str) {
        let text = String::from_utf8_lossy(bytes);
        let small = text.to_lowercase();
        let mark = MARKS.iter().find(|mark| small.contains(**mark));
        let secret = self
            .secrets
            .iter()
            .find(|secret| text.contains(secret.as_str()));
        for found in [mark.map(|mark| (*mark).to_owned()), secret.cloned()]
            .into_iter()
            .flatten()
        {
            let at = small.find(&found.to_lowercase()).unwrap_or_default();
            let around: String = small
                .chars()
                .skip(at.saturating_sub(120))
                .take(300)
                .collect();
            self.leaks.push(format!("{place}: {around}"));
        }
    }

    async fn look_at(&mut self, answer: Response, place: &str) {
        self.look(format!("{:?}", answer.headers()).as_bytes(), place);
        self.look(&answer.bytes().await.unwrap(), place);
    }
}

/// Policies in which something is wrong.
const POLICIES: [&str; 14] = [
    "PLAIN = 'PLAIN'",
    "'PLAIN",
    "# PLAIN\n\u{7}",
    "[clients.'PLAIN ']",
    "[resources.'PLAIN ']",
    "[clients.a]\nPLAIN = 1",
    "[clients.a]\nname = ['PLAIN']",
    "[clients.a]\nstatus = 'PLAIN'",
    "[clients.a]\nmetadata = { 'PLAIN ' = 'PLAIN' }",
    "[resources.a]\nsigning_alg = 'PLAIN'",
    "[resources.a]\ntoken_lifetime = 'PLAIN'",
    "[resources.a]\nowner = 'PLAIN '",
    "[[grants]]\nclient = 'PLAIN '\nresource = 'PLAIN '",
    "[clients.a]\n[resources.b]\n[[grants]]\nclient = 'a'\nresource = 'b'\nscopes = ['PLAIN ']\nexpires_at = 'PLAIN'",
];

#[expect(clippy::too_many_lines, reason = "a list of all that is tried")]
/// What one caller sends to one place, with one text in each position in turn.
fn attacks(
    program: &Program,
    place: &Place,
    base: &str,
    who: &Caller,
) -> Vec<(RequestBuilder, String)> {
    let encoded =
        |text: &str| -> String { url::form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    let mut found = vec![];
    let mut paths = vec![place.path.to_owned()];
    if place.path.contains('{') {
        let fill = |text: &str| {
            let mut path = String::new();
            for part in place.path.split_inclusive('/') {
                let slash = if part.ends_with('/') { "/" } else { "" };
                path += if part.starts_with('{') {
                    text
                } else {
                    part.trim_end_matches('/')
                };
                path += slash;
            }
            path
        };
        paths = vec![
            fill(PLAIN),
            fill("C4n4ry%07%C3%A9%22"),
            fill("C4n4ry%FF"),
            fill("C4n4ryC4n4ryC4n4ryC4n4"),
        ];
    }
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "C4N4RY"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        for path in &paths {
            let path = format!("{base}{path}");
            let send = |request: RequestBuilder, what: &str| {
                (
                    who.signs(request),
                    format!("{method} {path} {what} as {}", who.name()),
                )
            };
            let request = || program.request(&method, &path);
            found.push(send(request(), "nothing"));
            for name in place.parameters.iter().chain(&["access_token", PLAIN]) {
                for text in [PLAIN, ODD] {
                    let query = format!("{path}?{}={}", encoded(name), encoded(text));
                    found.push(send(program.request(&method, &query), "a parameter"));
                }
            }
            if ["GET", "C4N4RY"].contains(&method.as_str()) {
                continue;
            }
            let typed =
                |kind: &str, body: String| request().header("Content-Type", kind).body(body);
            for member in place.members.iter().chain(&[PLAIN, ODD]) {
                let mut values = vec![
                    json!(ODD),
                    json!([ODD]),
                    json!({ODD: ODD}),
                    json!([[PLAIN]]),
                ];
                if !place.free.contains(member)
                    && *member != "name"
                    && *member != "description"
                    && *member != "label"
                    && *member != "reason"
                {
                    values.extend([json!(PLAIN), json!([PLAIN, PLAIN])]);
                }
                for value in values {
                    let body = json!({*member: value});
                    found.push(send(request().json(&body), "a member"));
                    let mut whole = who.form();
                    whole[*member] = value;
                    found.push(send(request().json(&whole), "a member among others"));
                }
                for text in [PLAIN, ODD] {
                    let mut form =
                        vec![("grant_type", "client_credentials"), ("resource", "notes")];
                    form.retain(|(name, _)| name != member);
                    form.push((*member, text));
                    found.push(send(request().form(&form), "a form"));
                    form.push((*member, text));
                    found.push(send(request().form(&form), "a form, twice"));
                }
            }
            let readable = ["POST", "PATCH"].contains(&method.as_str());
            let json = [
                format!("\"{PLAIN}\""),
                format!("[\"{PLAIN}\"]"),
                format!("{{\"{PLAIN}\""),
                format!("{{\"a\": {PLAIN}}}"),
            ];
            for body in json.into_iter().filter(|_| readable) {
                found.push(send(typed("application/json", body), "JSON"));
            }
            for body in POLICIES
                .iter()
                .filter(|_| place.path.starts_with("/policy"))
            {
                let body = body.replace("PLAIN", PLAIN);
                found.push(send(typed("application/toml", body), "a policy"));
            }
            for kind in ["text/plain", PLAIN] {
                found.push(send(
                    typed(kind, PLAIN.to_owned()),
                    "a body of another type",
                ));
            }
        }
    }
    found
}

/// Requests with a text in each header.
fn headers(program: &Program, path: &str, who: &Caller) -> Vec<(RequestBuilder, String)> {
    let basic = |id: &str, secret: &str| STANDARD.encode(format!("{id}:{secret}"));
    let quoted = format!("\"{PLAIN}\"");
    let mut found = vec![];
    for method in [Method::GET, Method::POST] {
        for name in [
            "cookie",
            "x-forwarded-for",
            "forwarded",
            "idempotency-key",
            "if-match",
            "if-none-match",
            "accept",
            "content-type",
            "content-encoding",
            "user-agent",
            "referer",
            "origin",
            "last-event-id",
            "x-request-id",
            "x-api-key",
            "api-key",
            "cdi-version",
            "rid",
            "dpop",
            "proxy-authorization",
            "traceparent",
            "x-c4n4ry",
        ] {
            for value in [PLAIN, &quoted, "C4n4ry \u{e9}"] {
                let request = program.request(&method, path).header(name, value);
                found.push((who.signs(request), format!("{method} {path} with {name}")));
            }
        }
        for value in [
            PLAIN.to_owned(),
            format!("Bearer {PLAIN}"),
            format!("Bearer m2mt_{}", &PLAIN[..43.min(PLAIN.len())]),
            format!("Bearer {PLAIN}.{PLAIN}.{PLAIN}"),
            format!("Basic {PLAIN}"),
            format!("Basic {}", basic(PLAIN, PLAIN)),
            format!("Basic {}", basic("bot", PLAIN)),
            format!("Basic {}", basic(ODD, ODD)),
            format!("{PLAIN} {PLAIN}"),
            format!("DPoP {PLAIN}"),
        ] {
            let request = program
                .request(&method, path)
                .header("authorization", &value);
            found.push((request, format!("{method} {path} with an authorization")));
        }
    }
    found
}

enum Caller {
    Nobody,
    Client { id: &'static str, secret: String },
    Administrator { token: String, key: String },
}

impl Caller {
    fn name(&self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Client { id, .. } => id,
            Self::Administrator { .. } => "admin",
        }
    }

    fn signs(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Nobody => request,
            Self::Client { id, secret } => {
                let request = request.basic_auth(id, Some(secret));
                request.header("api-key", secret)
            }
            Self::Administrator { token, key } => request.bearer_auth(token).header("api-key", key),
        }
    }

    /// Members that go together with what the caller sends.
    fn form(&self) -> Value {
        match self {
            Self::Nobody | Self::Client { .. } => {
                json!({"grant_type": "client_credentials", "resource": "notes"})
            }
            Self::Administrator { .. } => json!({"client_id": "bot", "resource": "notes"}),
        }
    }
}

/// All that makes a secret, and all that is done with one. What is answered is kept in `watch`, so that it is looked for.
async fn use_secrets(program: &Program, watch: &mut Watch, token: &str) {
    let call = async |method: Method, path: &str, body: Value, key: &str| -> Value {
        let request = program
            .request(&method, &format!("/admin/v1{path}"))
            .bearer_auth(token);
        let request = request.header("Idempotency-Key", key);
        let request = if body.is_null() {
            request
        } else {
            request.json(&body)
        };
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{method} {path}: {answer:?}");
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default()
    };
    let id = |made: &Value| made["credential_id"].as_str().unwrap().to_owned();
    let mut secrets = vec![];
    let keep = |secrets: &mut Vec<String>, made: &Value| {
        secrets.push(made["client_secret"].as_str().unwrap().to_owned());
    };
    let client = json!({
        "client_id": "made", "name": SAID, "description": SAID, "metadata": {SAID: SAID},
    });
    let mut made = Value::Null;
    for _ in 0..2 {
        made = call(Method::POST, "/clients", client.clone(), "one").await;
        keep(&mut secrets, &made);
    }
    let all = "/clients/made/credentials";
    let label = json!({"label": SAID});
    let added = call(Method::POST, all, label.clone(), "two").await;
    keep(&mut secrets, &added);
    let old = id(&added);
    let rotated = call(
        Method::POST,
        &format!("{all}/{old}/rotate"),
        label.clone(),
        "three",
    )
    .await;
    keep(&mut secrets, &rotated);
    let rotation = format!("{all}/{}/rotation", id(&made));
    let started = call(Method::POST, &rotation, label.clone(), "four").await;
    keep(&mut secrets, &started);
    call(
        Method::POST,
        &format!("{rotation}/finish"),
        Value::Null,
        "x",
    )
    .await;
    call(Method::PATCH, &format!("{all}/{old}"), label, "x").await;
    call(
        Method::POST,
        &format!("{all}/{}/compromised", id(&rotated)),
        Value::Null,
        "x",
    )
    .await;
    let resource = json!({"resource": "made", "name": SAID, "scopes": {"use": SAID}});
    call(Method::POST, "/resources", resource, "five").await;
    let grant = json!({"client_id": "made", "resource": "made", "scopes": ["use"], "reason": SAID});
    call(Method::POST, "/grants", grant, "six").await;

    use_tokens(program, watch, token, secrets).await;
}

/// The rest of it: registration, tokens, and a secret where the client id should be.
async fn use_tokens(program: &Program, watch: &mut Watch, token: &str, mut secrets: Vec<String>) {
    let request = program.request(&Method::POST, "/clients/register");
    let request = request
        .bearer_auth(token)
        .json(&json!({"client_name": SAID}));
    let registered = request.send().await.unwrap();
    assert_eq!(registered.status(), 201);
    let registered: Value = registered.json().await.unwrap();
    for member in ["client_secret", "registration_access_token"] {
        secrets.push(registered[member].as_str().unwrap().to_owned());
    }

    for (client, resource) in [
        ("bot", "notes"),
        ("courier", "lab"),
        ("root", "auth-provider"),
    ] {
        let issued = program.token(client, resource).await;
        for path in ["/oauth/introspect", "/oauth/revoke"] {
            for asks in ["single", client, "root"] {
                let request = program
                    .request(&Method::POST, path)
                    .form(&[("token", &issued)]);
                let request = request.basic_auth(asks, Some(program.secret(asks)));
                watch.look_at(request.send().await.unwrap(), path).await;
            }
        }
        let request = program
            .request(&Method::GET, "/admin/v1/clients")
            .bearer_auth(&issued);
        watch
            .look_at(request.send().await.unwrap(), "clients")
            .await;
        // What precedes a JWT's signature may be known to all.
        secrets.push(issued.rsplit('.').next().unwrap().to_owned());
    }
    for (id, secret) in [
        (&secrets[0], "made"),
        (&secrets[0], secrets[1].as_str()),
        (&"bot".to_owned(), &secrets[0]),
    ] {
        let form = [("grant_type", "client_credentials")];
        let request = program.request(&Method::POST, "/oauth/token").form(&form);
        let answer = request.basic_auth(id, Some(secret)).send().await.unwrap();
        assert_eq!(answer.status(), 401);
        watch.look_at(answer, "a swapped secret").await;
    }
    watch.secrets.append(&mut secrets);
}

#[actix_web::test]
async fn what_nobody_may_see_again_is_not_seen_again() {
    let mut program = Program::start();
    let token = program.token("admin", "auth-provider").await;
    let mut watch = Watch::default();
    for client in ["admin", "bot", "single", "courier", "root", "project"] {
        watch.secrets.push(program.secret(client));
    }
    watch
        .secrets
        .push(token.rsplit('.').next().unwrap().to_owned());
    use_secrets(&program, &mut watch, &token).await;

    let admin = Caller::Administrator {
        token: token.clone(),
        key: program.secret("admin"),
    };
    let bot = Caller::Client {
        id: "bot",
        secret: program.secret("bot"),
    };
    let project = Caller::Client {
        id: "project",
        secret: program.secret("project"),
    };
    let mut requests = vec![];
    for place in SURFACE {
        // Those whom a place lets in: of a stranger it reads nothing, and who fails again and again waits for a second.
        let callers = if place.path.starts_with("/clients/register") {
            vec![&admin]
        } else if place.path.starts_with("/v1/m2m") {
            vec![&project]
        } else {
            vec![&bot, &Caller::Nobody]
        };
        for who in &callers {
            requests.extend(attacks(&program, place, "", who));
        }
        let who = if callers[0].name() == "admin" {
            &bot
        } else {
            callers[0]
        };
        let path = place.path.trim_end_matches("/{nothing}");
        requests.extend(headers(&program, path, who));
    }
    for place in ADMINISTRATION {
        requests.extend(attacks(&program, place, "/admin/v1", &admin));
    }
    for path in [
        "/clients",
        "/resources",
        "/audit",
        "/keys/rotate",
        "/policy",
        "/explain",
    ] {
        requests.extend(headers(&program, &format!("/admin/v1{path}"), &admin));
    }
    requests.extend(attacks(
        &program,
        &ADMINISTRATION[0],
        "/admin/v1",
        &Caller::Nobody,
    ));
    // A request that cannot be made is none.
    let built = requests.into_iter();
    let built = built.filter_map(|(request, place)| Some((request.build().ok()?, place)));
    // Writing them all down takes a while, in which the server may close a connection that waits.
    let http = m2m::http_client(Duration::from_secs(30));
    let answers = built.map(|(request, place)| {
        let answer = http.execute(request);
        async move { (answer.await.unwrap(), place) }
    });
    let mut answers = stream::iter(answers).buffer_unordered(8);
    while let Some((answer, place)) = answers.next().await {
        assert!(answer.status() != 500, "{place}: {answer:?}");
        watch.look_at(answer, &place).await;
    }
    drop(answers);

    // What is kept, as those see it who may see it.
    let mut audit = String::new();
    for path in [
        "/clients",
        "/clients/made/credentials",
        "/resources",
        "/grants",
        "/policy",
        "/audit",
    ] {
        let mut cursor = String::new();
        loop {
            let limit = if path.contains("credentials") || path == "/policy" {
                ""
            } else {
                "?limit=1000"
            };
            let request = program.request(&Method::GET, &format!("/admin/v1{path}{limit}{cursor}"));
            let text = request
                .bearer_auth(&token)
                .send()
                .await
                .unwrap()
                .text()
                .await
                .unwrap();
            watch.look(text.as_bytes(), path);
            let page: Value = serde_json::from_str(&text).unwrap_or_default();
            if path == "/audit" {
                audit += &text;
            }
            let Some(next) = page["next_cursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
    }
    let metrics = program
        .request(&Method::GET, "/metrics")
        .send()
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    watch.look(metrics.as_bytes(), "the metrics");
    for (path, bytes) in program.files() {
        watch.look(&bytes, &format!("{} of the running server", path.display()));
    }
    let (backup, secrets) = program.backup();
    let found = secrets.iter().find(|secret| {
        let is_there = |part: &[u8]| part == secret.as_bytes();
        backup.windows(secret.len()).any(is_there)
    });
    assert!(found.is_none(), "a secret stands in the backup");
    watch.look(&backup, "the backup");
    terminate(&program.child);
    assert!(program.child.wait().unwrap().success());
    for (path, bytes) in program.files() {
        watch.look(&bytes, &path.display().to_string());
    }
    let log = program.log();
    for said in ["issued a token", "refused: ", "refused an administrator"] {
        assert!(log.contains(said), "the log was not caught: no `{said}`");
    }
    for line in log.lines() {
        watch.look(line.as_bytes(), "the log");
    }
    for (text, place) in [
        (&log, "the log"),
        (&metrics, "the metrics"),
        (&audit, "the audit log"),
    ] {
        if text.contains(SAID) {
            watch
                .leaks
                .push(format!("{place} repeats what an administrator said"));
        }
    }
    watch.leaks.dedup();
    let shown = &watch.leaks[..watch.leaks.len().min(25)];
    assert!(
        watch.leaks.is_empty(),
        "{} leaks, such as {shown:#?}",
        watch.leaks.len()
    );
}

#[actix_web::test]
async fn a_dump_of_the_database_has_no_usable_secret() {
    let server = Server::start().await;
    let admin = Administrator::of(&server).await;
    let mut secrets: Vec<String> = ["admin", "bot", "single"]
        .map(|id| server.secret(id))
        .into();
    let mut made = vec![];
    for path in [
        "/clients",
        "/clients/bot/credentials",
        "/clients/bot/credentials",
    ] {
        for _ in 0..2 {
            let request = server
                .post(&format!("/admin/v1{path}"))
                .bearer_auth(&admin.token);
            let request = request.header("Idempotency-Key", path).json(&json!({}));
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 201);
            made.push(answer.json::<Value>().await.unwrap());
        }
    }
    let old = made[2]["credential_id"].as_str().unwrap().to_owned();
    for way in ["rotate", "rotation"] {
        let path = format!("/clients/bot/credentials/{old}/{way}");
        made.push(admin.post(&path, &json!({})).await);
    }
    for made in &made {
        secrets.push(made["client_secret"].as_str().unwrap().to_owned());
    }
    secrets.push(server.token("courier", "lab").await);
    server.auth.journal.settle().await.unwrap();

    let file = server.folder.path().join("data/auth-provider.db");
    let options = SqliteConnectOptions::new().filename(file);
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table'";
    let tables = database.fetch_all(tables).await.unwrap();
    let mut dump = vec![];
    for table in tables.iter().map(|row| row.get::<String, _>(0)) {
        let sql = AssertSqlSafe(format!("SELECT * FROM {table}"));
        for row in database.fetch_all(sql).await.unwrap() {
            for column in 0..row.len() {
                let value = row.try_get_raw(column).unwrap();
                // A number is no secret.
                if let Ok(bytes) = <&[u8] as sqlx::Decode<sqlx::Sqlite>>::decode(value) {
                    dump.extend_from_slice(bytes);
                    dump.push(0);
                }
            }
        }
    }
    assert!(
        contains(&dump, b"client.created") && contains(&dump, b"notes"),
        "it is a dump"
    );
    for secret in &secrets {
        // Not even a part of it; its last four characters are kept so that people can tell secrets apart.
        let random = &secret.as_bytes()["m2mt_".len()..];
        for part in random.windows(8) {
            assert!(
                !contains(&dump, part),
                "a part of a secret is in the database"
            );
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
