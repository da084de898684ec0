//! Mistakes in requests with a token, and at the start of services.

use std::{fs, time::Duration};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    http::StatusCode,
    web::{self, Data},
};
use aws_lc_rs::hmac;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use e2e::mistakes::Place;
use m2m::{Clock, ManualClock, service::Listen};
use reqwest::{Client, Url};
use serde_json::json;

use super::{compare, world::World};
use crate::support::{calendar, until, until_ready};

/// The provider and the two services, and what mistakes are made with.
struct Services {
    world: World,
    notes: String,
    calendar: String,
    files: String,
    /// For the notes, with `note.read`; from before the provider lost its data.
    lost: String,
    /// The same, from today.
    good: String,
}

#[tokio::test]
async fn services_say_what_the_table_has() {
    let mut world = World::with_provider().await;
    let lost = world.token("assistant", "note-service", "note.read").await;
    world.lose_all_data();
    let policy = world.path().join("policy.toml");
    let text = fs::read_to_string(&policy).unwrap();
    fs::write(&policy, text + PROFILED).unwrap();
    world.start_provider().await;
    let (_notes, notes) = world.start_service("note-service", 3012, &[]).await;
    let (_calendar, calendar) = world.start_service("calendar-service", 3011, &[]).await;
    let introspection = world.issuer() + "/oauth/introspect";
    let more = ["--introspect-url", introspection.as_str()];
    let (_files, files) = world.start_service("resource-server", 8081, &more).await;
    let good = world.token("assistant", "note-service", "note.read").await;
    let services = Services {
        notes: format!("http://localhost:{notes}"),
        calendar: format!("http://localhost:{calendar}"),
        files: format!("http://localhost:{files}"),
        world,
        lost,
        good,
    };
    until_ready(&services.world.http, &services.notes).await;
    until_ready(&services.world.http, &services.calendar).await;
    until_ready(&services.world.http, &services.files).await;
    compare(Place::Service, async |id| made(&services, id).await).await;
}

/// A resource whose tokens look as another product's.
const PROFILED: &str = r#"
    [resources.profiled]
    token_profile = "supertokens"
    scopes."note.read" = "List notes"
    [[grants]]
    client = "assistant"
    resource = "profiled"
    scopes = ["note.read"]
"#;

async fn made(services: &Services, id: &str) -> String {
    let Services {
        world,
        notes,
        calendar,
        files,
        lost,
        good,
    } = services;
    let note = format!("{notes}/note");
    let with_header = async |authorization: String| world.refused(&note, &authorization).await;
    let with_token = async |token: &str| world.refused(&note, &format!("Bearer {token}")).await;
    match id {
        "no-token" => world.answered(world.http.get(&note)).await,
        "another-scheme" => with_header(format!("Token {good}")).await,
        "proxy-strips-the-header" => {
            let proxy = proxy_that_strips(notes);
            world
                .refused(&format!("{proxy}/note"), &format!("Bearer {good}"))
                .await
        }
        "token-in-the-url" => {
            let request = world.http.get(format!("{note}?access_token={good}"));
            world.answered(request).await
        }
        "empty-variable" => with_token("").await,
        "bearer-twice" => with_token(&format!("Bearer {good}")).await,
        "token-in-quotes" => with_token(&format!("\"{good}\"")).await,
        "token-cut-short" => with_token(&good[..good.len() - 20]).await,
        "token-halved" => with_token(good.rsplit_once('.').unwrap().0).await,
        "plain-base64" => {
            let parts = good
                .split('.')
                .map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
            let parts: Vec<_> = parts.map(|part| STANDARD.encode(part)).collect();
            with_token(&parts.join(".")).await
        }
        "signed-with-the-secret" => with_token(&signed_with_a_secret(world)).await,
        "typ-is-jwt" => {
            let token = world.token("assistant", "profiled", "note.read").await;
            with_token(&token).await
        }
        "token-for-another-service" => {
            world
                .refused(&format!("{calendar}/event"), &format!("Bearer {good}"))
                .await
        }
        "scope-missing" => {
            let request = world.http.post(&note).json(&json!({"title": "Milk"}));
            world.answered(request.bearer_auth(good)).await
        }
        "service-with-a-form" => {
            let token = world.token("assistant", "note-service", "note.write").await;
            let request = world.http.post(&note).form(&[("title", "Milk")]);
            world.answered(request.bearer_auth(token)).await
        }
        "inactive-token" => {
            let url = format!("{files}/protected");
            world.refused(&url, &format!("Bearer {good}")).await
        }
        "token-expired" => with_clock(world, Clock::System.now() + 2 * 3600).await,
        "clock-behind" => with_clock(world, Clock::System.now() - 3600).await,
        "token-revoked" => {
            let token = world.token("assistant", "note-service", "note.read").await;
            let request = world.http.post(world.issuer() + "/oauth/revoke");
            let request = request.basic_auth("assistant", Some(world.secret("assistant")));
            let answer = request.form(&[("token", &token)]).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            let asked = || world.http.get(&note).bearer_auth(&token).send();
            until("the service knows", async || {
                asked().await.unwrap().status() == 401
            })
            .await;
            with_token(&token).await
        }
        "token-of-lost-data" => with_token(lost).await,
        "two-headers" => {
            let request = world.http.get(&note).basic_auth("me", Some("x"));
            world
                .answered(request.header("authorization", format!("Bearer {good}")))
                .await
        }
        _ => started_wrongly(world, good, id).await,
    }
}

/// A service of its own, which starts in another way than it should.
async fn started_wrongly(world: &World, good: &str, id: &str) -> String {
    match id {
        "issuer-down" => {
            let mut alone = World::new();
            let (_service, port) = alone.start_service("note-service", 3012, &[]).await;
            let note = format!("http://localhost:{port}/note");
            alone.refused(&note, &format!("Bearer {good}")).await
        }
        "service-with-another-issuer" => {
            let mut other = World::new();
            let issuer = world.issuer().replace("localhost", "127.0.0.1");
            let _service = other
                .start_service("note-service", 3012, &["--issuer", &issuer])
                .await;
            let said = other.log_with("note-service", "is configured").await;
            world.as_read(&said)
        }
        "service-without-clients-file" => {
            let mut other = World::new();
            let issuer = world.issuer();
            let _service = other
                .start_service("note-service", 3012, &["--issuer", &issuer])
                .await;
            let said = other.log_with("note-service", "there is no file").await;
            world.as_read(&said)
        }
        "service-listens-to-everybody" => {
            world
                .fails("note-service", &["--listen", "0.0.0.0:3012"])
                .await
        }
        _ => panic!("nobody makes the mistake {id}"),
    }
}

/// What a calendar says to a new token, when its clock shows this time.
async fn with_clock(world: &World, now: u64) -> String {
    let hand = ManualClock::at(now);
    let calendar = calendar(&world.issuer(), &hand.clock());
    let token = world
        .token("assistant", "calendar-service", "calendar.read")
        .await;
    world
        .refused(&format!("{calendar}/event"), &format!("Bearer {token}"))
        .await
}

/// What a program makes that holds the client secret for the key of the tokens.
fn signed_with_a_secret(world: &World) -> String {
    let header = json!({"alg": "HS256", "typ": "JWT"}).to_string();
    let claims =
        json!({"iss": world.issuer(), "aud": "note-service", "sub": "assistant"}).to_string();
    let signed = [header, claims]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".");
    let key = hmac::Key::new(hmac::HMAC_SHA256, world.secret("assistant").as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// A proxy that hands requests on without their `Authorization`, as those do that check passwords themselves.
fn proxy_that_strips(target: &str) -> String {
    async fn hand_on(request: HttpRequest, way: Data<(Client, Url)>) -> HttpResponse {
        let (http, target) = way.get_ref();
        let answer = http
            .get(target.join(request.path()).unwrap())
            .send()
            .await
            .unwrap();
        let status = StatusCode::from_u16(answer.status().as_u16()).unwrap();
        HttpResponse::build(status).body(answer.bytes().await.unwrap())
    }
    let way = (
        m2m::http_client(Duration::from_secs(10)),
        target.parse::<Url>().unwrap(),
    );
    let way = Data::new(way);
    let listener = Listen::At(([127, 0, 0, 1], 0).into())
        .bind()
        .unwrap()
        .remove(0);
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = move || {
        App::new()
            .app_data(Data::clone(&way))
            .default_service(web::to(hand_on))
    };
    let server = HttpServer::new(app).workers(1).listen(listener).unwrap();
    tokio::spawn(server.run());
    url
}
