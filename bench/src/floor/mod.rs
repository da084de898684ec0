//! The floor: the same actix-web settings as every server here, and per route only the work that no
//! server can avoid. What the product needs beyond it is the price of its features.
//!
//! | route | what it does | what it stands for |
//! |---|---|---|
//! | `POST /form` | reads a form, answers JSON | what actix-web itself costs |
//! | `POST /token/{alg}` | also compares the hash of one secret and signs one token with a parsed key | issuing a token |
//! | `POST /introspect` | reads a form, compares the hash, finds the token in a map, writes its claims | introspection |
//! | `GET /verified` | verifies a signature with a parsed key, reads and checks the claims, answers the list | a protected route that meets a new token |
//! | `GET /event` | answers a list of one event to anybody | a protected route without protection |
//! | `GET /bytes/{n}` | answers so many bytes | a document that does not change |
//!
//! What the routes must know of a real issuer they are told by `POST /learn` before anything is measured.

mod sign;
mod verify;

use std::{io, net::TcpListener};

use actix_web::{
    HttpRequest, HttpResponse,
    dev::Server,
    http::header,
    web::{self, Bytes, Data, Form, Json, Path},
};
use m2m::{
    Clock,
    service::{HttpMetrics, Readiness, health_routes},
    verify::Algorithm,
};
use serde::{Deserialize, Serialize};

pub use sign::{Key, SIGNING};
pub use verify::{Answer, Lesson};

use sign::{LIFETIME, Signer};
use verify::Learned;

/// The one client that the floor knows, with a secret of the length that auth-provider makes. It
/// opens nothing but this server.
pub const CLIENT_ID: &str = "assistant";
pub const CLIENT_SECRET: &str = "m2m_the-floor-knows-one-secret-and-this-is-it-abcdefg";

/// The most that `GET /bytes/{n}` answers.
const MAX_BYTES: usize = 64 * 1024;

/// Starts the floor server with one worker.
pub fn serve(listeners: Vec<TcpListener>) -> io::Result<Server> {
    let signer = Data::new(Signer::generate());
    let learned = Data::new(Learned::default());
    let events = Data::new(vec![Event::sample()]);
    let bytes = Data::new(Bytes::from(vec![b' '; MAX_BYTES]));
    m2m::service::serve(listeners, Some(1), &HttpMetrics::default(), move |cfg| {
        for algorithm in SIGNING {
            let issue = move |signer: Data<Signer>, request: HttpRequest, form: Form<_>| async move {
                issue_token(algorithm, &signer, &request, &form)
            };
            cfg.route(&token_path(algorithm), web::post().to(issue));
        }
        cfg.app_data(signer.clone())
            .app_data(learned.clone())
            .app_data(events.clone())
            .app_data(bytes.clone())
            .configure(health_routes(Readiness::default()))
            .route("/form", web::post().to(read_form))
            .route("/learn", web::post().to(learn))
            .route("/introspect", web::post().to(introspect))
            .route("/verified", web::get().to(list_events_verified))
            .route("/event", web::get().to(list_events))
            .route("/bytes/{n}", web::get().to(answer_bytes));
    })
}

/// Where tokens of this algorithm are issued.
pub fn token_path(algorithm: Algorithm) -> String {
    format!("/token/{}", algorithm.name())
}

#[derive(Deserialize, Serialize)]
struct TokenRequest {
    grant_type: String,
    resource: String,
    scope: String,
}

#[derive(Serialize)]
struct TokenAnswer<'a> {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    scope: &'a str,
}

async fn read_form(form: Form<TokenRequest>) -> Json<TokenRequest> {
    Json(form.into_inner())
}

fn issue_token(
    algorithm: Algorithm,
    signer: &Signer,
    request: &HttpRequest,
    form: &TokenRequest,
) -> HttpResponse {
    if !signer.knows(request) {
        return HttpResponse::Unauthorized().finish();
    }
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(TokenAnswer {
            access_token: signer.token(algorithm, form),
            token_type: "Bearer",
            expires_in: LIFETIME,
            scope: &form.scope,
        })
}

/// Takes what a route has to know. A lesson that makes no sense is refused.
async fn learn(learned: Data<Learned>, lesson: Json<Lesson>) -> HttpResponse {
    match learned.learn(lesson.into_inner()) {
        Some(()) => HttpResponse::NoContent().finish(),
        None => HttpResponse::BadRequest().finish(),
    }
}

#[derive(Deserialize)]
struct AboutToken {
    token: String,
}

async fn introspect(
    signer: Data<Signer>,
    learned: Data<Learned>,
    request: HttpRequest,
    form: Form<AboutToken>,
) -> HttpResponse {
    if !signer.knows(&request) {
        return HttpResponse::Unauthorized().finish();
    }
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    match learned.answer(&form.token) {
        Some(answer) => response.json(&*answer),
        None => response.json(serde_json::json!({"active": false})),
    }
}

/// An event as calendar-service answers it.
#[derive(Serialize)]
struct Event {
    id: u64,
    title: &'static str,
    description: &'static str,
    start: u64,
    end: u64,
}

impl Event {
    fn sample() -> Self {
        let now = Clock::System.now_ms();
        Self {
            id: 1,
            title: "Meeting with A",
            description: "Discuss the project",
            start: now,
            end: now + 3_600_000,
        }
    }
}

async fn list_events(events: Data<Vec<Event>>) -> HttpResponse {
    HttpResponse::Ok().json(events.get_ref())
}

async fn list_events_verified(
    learned: Data<Learned>,
    request: HttpRequest,
    events: Data<Vec<Event>>,
) -> HttpResponse {
    if learned.accepts(&request) {
        HttpResponse::Ok().json(events.get_ref())
    } else {
        HttpResponse::Unauthorized().finish()
    }
}

async fn answer_bytes(bytes: Data<Bytes>, n: Path<usize>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(bytes.slice(..bytes.len().min(*n)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use m2m::service::Listen;
    use serde_json::{Value, json};

    use super::*;

    fn start() -> String {
        let listeners = Listen::At("127.0.0.1:0".parse().unwrap()).bind().unwrap();
        let address = listeners[0].local_addr().unwrap();
        actix_web::rt::spawn(serve(listeners).unwrap());
        format!("http://{address}")
    }

    fn http() -> reqwest::Client {
        m2m::http_client(Duration::from_secs(5))
    }

    const FORM: [(&str, &str); 3] = [
        ("grant_type", "client_credentials"),
        ("resource", "calendar-service"),
        ("scope", "calendar.read"),
    ];

    #[actix_web::test]
    async fn only_the_right_secret_gets_a_token() {
        let url = start() + &token_path(Algorithm::ES256);
        for (secret, status) in [
            (Some(CLIENT_SECRET), 200),
            (Some("m2m_wrong"), 401),
            (Some(""), 401),
            (None, 401),
        ] {
            let mut request = http().post(&url).form(&FORM);
            if let Some(secret) = secret {
                request = request.basic_auth(CLIENT_ID, Some(secret));
            }
            assert_eq!(request.send().await.unwrap().status(), status, "{secret:?}");
        }
    }

    #[actix_web::test]
    async fn forms_lists_and_bytes_are_answered() {
        let url = start();
        let form = http().post(format!("{url}/form")).form(&FORM).send();
        let form: Value = form.await.unwrap().json().await.unwrap();
        assert_eq!(form["resource"], "calendar-service");
        let events = http().get(format!("{url}/event")).send();
        let events: Vec<Value> = events.await.unwrap().json().await.unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["title"], "Meeting with A");
        let bytes = http().get(format!("{url}/bytes/1234")).send();
        assert_eq!(bytes.await.unwrap().bytes().await.unwrap().len(), 1234);
    }

    #[actix_web::test]
    async fn a_token_is_introspected_as_it_was_learned() {
        let url = start();
        let claims = json!({
            "active": true, "iss": "i", "sub": "c", "client_id": "c", "aud": "a", "scope": "s t",
            "scp": ["s", "t"], "iat": 1, "nbf": 1, "exp": 2, "jti": "j", "token_type": "Bearer",
        });
        let lesson = json!({"token": "t", "answer": claims});
        let told = http().post(format!("{url}/learn")).json(&lesson).send();
        assert_eq!(told.await.unwrap().status(), 204);
        for (token, expected) in [("t", claims), ("u", json!({"active": false}))] {
            let asked = http()
                .post(format!("{url}/introspect"))
                .basic_auth(CLIENT_ID, Some(CLIENT_SECRET))
                .form(&[("token", token)])
                .send();
            let answer: Value = asked.await.unwrap().json().await.unwrap();
            assert_eq!(answer, expected);
        }
    }
}
