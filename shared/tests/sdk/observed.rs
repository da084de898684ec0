//! What is known of each request: what is counted, and the trace that goes through.

use actix_web::{HttpResponse, http::Method, web};
use m2m::{
    Scope, TokenSource, Verifier,
    actix::Caller,
    service::{Listen, ResourceServer},
    testing::TestIssuer,
    trace::{self, TraceContext},
};
use reqwest::Client;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, path},
};

use crate::issuer_and_verifier;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

struct NoteRead;

impl Scope for NoteRead {
    const NAME: &'static str = "note.read";
}

async fn read(_: Caller<NoteRead>, id: web::Path<u32>) -> String {
    id.to_string()
}

/// What the handler knows of the trace.
async fn told() -> String {
    trace::current().map_or_else(String::new, |trace| trace.to_string())
}

/// Calls another service as the request that it answers.
async fn on(calls: web::Data<Calls>) -> HttpResponse {
    let request = calls.http.get(format!("{}/there", calls.url));
    match calls.tokens.send(request, &[], "there").await {
        Ok(answer) => HttpResponse::build(
            actix_web::http::StatusCode::from_u16(answer.status().as_u16()).unwrap(),
        )
        .finish(),
        Err(error) => HttpResponse::BadGateway().body(error.to_string()),
    }
}

struct Calls {
    tokens: TokenSource,
    http: Client,
    url: String,
}

fn http() -> Client {
    m2m::http_client(std::time::Duration::from_secs(10))
}

fn start(verifier: Verifier, calls: Option<Calls>) -> String {
    let calls = calls.map(web::Data::new);
    let server = ResourceServer {
        listen: Listen::Loopback { port: 0 },
        behind_tls_proxy: false,
        workers: Some(1),
        verifier,
    };
    let running = server
        .start(move |cfg| {
            if let Some(calls) = &calls {
                cfg.app_data(calls.clone());
            }
            cfg.route("/note/{id:[1-9][0-9]{0,8}}", web::get().to(read))
                .route("/told", web::get().to(told))
                .route("/on", web::get().to(on));
        })
        .unwrap();
    let url = running.url();
    tokio::spawn(running.until_stopped());
    url
}

async fn metrics(url: &str) -> String {
    let answer = http().get(format!("{url}/metrics")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(
        answer.headers()["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    answer.text().await.unwrap()
}

/// The value of a series; 0 when it is not there.
fn value(text: &str, series: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

fn count(text: &str, method: &str, route: &str, status: u16) -> f64 {
    let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
    value(
        text,
        &format!("http_server_request_duration_seconds_count{{{labels}}}"),
    )
}

#[tokio::test]
async fn requests_are_counted_by_the_routes_template_and_never_by_what_was_sent() {
    let (issuer, verifier, _) = issuer_and_verifier().await;
    let url = start(verifier, None);
    let token = issuer.token().audience("notes").scope("note.read").mint();
    let send = async |method: Method, path: &str, token: &str| {
        let method = reqwest::Method::from_bytes(method.as_str().as_bytes()).unwrap();
        let request = http().request(method, format!("{url}{path}"));
        request.bearer_auth(token).send().await.unwrap().status()
    };
    for id in 1..=3 {
        let path = format!("/note/{id}?secret=hunter2");
        assert_eq!(send(Method::GET, &path, &token).await, 200);
    }
    assert_eq!(send(Method::GET, "/note/4", "wrong").await, 401);
    assert_eq!(send(Method::GET, "/note/0", &token).await, 404);
    assert_eq!(send(Method::GET, "/hunter2", &token).await, 404);
    let own = Method::from_bytes(b"HUNTER2").unwrap();
    assert_eq!(send(own, "/hunter2/hunter2", &token).await, 404);

    let text = metrics(&url).await;
    for (method, route, status, expected) in [
        ("GET", "/note/{id}", 200, 3.0),
        ("GET", "/note/{id}", 401, 1.0),
        ("GET", "other", 404, 2.0),
        ("other", "other", 404, 1.0),
    ] {
        let found = count(&text, method, route, status);
        assert!(
            (found - expected).abs() < 0.1,
            "{method} {route} {status}\n{text}"
        );
    }
    for (series, expected) in [
        ("verifier_tokens_total{from=\"memory\"}", 2.0),
        ("verifier_tokens_total{from=\"anew\"}", 2.0),
        ("verifier_key_set_fetches_total{outcome=\"failure\"}", 0.0),
    ] {
        assert!(
            (value(&text, series) - expected).abs() < 0.1,
            "{series}\n{text}"
        );
    }
    assert!(value(&text, "verifier_key_set_fetches_total{outcome=\"success\"}") >= 1.0);
    assert!(!text.to_lowercase().contains("hunter2"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    let again = metrics(&url).await;
    assert!(
        (count(&again, "GET", "/metrics", 200) - 1.0).abs() < 0.1,
        "{again}"
    );
}

#[tokio::test]
async fn a_trace_is_taken_from_the_caller_or_begun() {
    let (_issuer, verifier, _) = issuer_and_verifier().await;
    let url = start(verifier, None);
    let told = async |headers: &[&str]| {
        let mut request = http().get(format!("{url}/told"));
        for header in headers {
            request = request.header("traceparent", *header);
        }
        let text = request.send().await.unwrap().text().await.unwrap();
        TraceContext::parse(&text).unwrap_or_else(|| panic!("{text}"))
    };
    assert_eq!(told(&[PARENT]).await.trace_id(), TRACE);
    let not_sampled = PARENT.replace("-01", "-00");
    assert!(!told(&[&not_sampled]).await.sampled());
    let none = told(&[]).await;
    assert_ne!(none.trace_id(), told(&[]).await.trace_id());
    for bad in [
        &PARENT.to_uppercase(),
        &PARENT.replace("-01", ""),
        &PARENT.replacen("00", "ff", 1),
        "hunter2",
        "",
    ] {
        assert_ne!(told(&[bad]).await.trace_id(), TRACE, "{bad}");
    }
    assert_ne!(
        told(&[PARENT, PARENT]).await.trace_id(),
        TRACE,
        "two are none"
    );
}

#[tokio::test]
async fn a_trace_goes_on_with_each_call() {
    let (_keys, verifier, _) = issuer_and_verifier().await;
    let other = MockServer::start().await;
    let token = r#"{"access_token":"t","token_type":"Bearer","expires_in":60}"#;
    Mock::given(path("/token"))
        .respond_with(ResponseTemplate::new(200).set_body_raw(token, "application/json"))
        .mount(&other)
        .await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(204))
        .mount(&other)
        .await;
    let tokens = TokenSource::builder(other.uri(), "me", "hunter2")
        .token_endpoint(format!("{}/token", other.uri()))
        .build()
        .unwrap();
    let calls = Calls {
        tokens,
        http: http(),
        url: other.uri(),
    };
    let url = start(verifier, Some(calls));
    let request = http()
        .get(format!("{url}/on"))
        .header("traceparent", PARENT);
    assert_eq!(request.send().await.unwrap().status(), 204);
    let request = http().get(format!("{url}/on"));
    assert_eq!(request.send().await.unwrap().status(), 204);

    let received = other.received_requests().await.unwrap();
    let [token, there, again] = &received[..] else {
        panic!("{received:?}");
    };
    let parent = |request: &wiremock::Request| {
        let values: Vec<_> = request.headers.get_all("traceparent").iter().collect();
        assert_eq!(values.len(), 1);
        values[0].to_str().unwrap().to_owned()
    };
    assert_eq!(
        (token.url.path(), parent(token).as_str()),
        ("/token", PARENT)
    );
    assert_eq!(
        (there.url.path(), parent(there).as_str()),
        ("/there", PARENT)
    );
    let own = TraceContext::parse(&parent(again)).unwrap();
    assert_ne!(own.trace_id(), TRACE, "the second request began a trace");
}

#[tokio::test]
async fn what_an_issuer_is_asked_for_a_request_is_part_of_its_trace() {
    let issuer = MockServer::start().await;
    Mock::given(any())
        .respond_with(
            ResponseTemplate::new(200).set_body_raw(r#"{"active":false}"#, "application/json"),
        )
        .mount(&issuer)
        .await;
    let verifier = Verifier::introspecting(format!("{}/introspect", issuer.uri()))
        .audience("notes")
        .client("me", "hunter2")
        .build()
        .unwrap();
    let stats = verifier.clone();
    let url = start(verifier, None);
    let request = http().get(format!("{url}/note/1")).bearer_auth("opaque");
    let answer = request.header("traceparent", PARENT).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let received = issuer.received_requests().await.unwrap();
    let asked: Vec<_> = received
        .iter()
        .filter(|request| String::from_utf8_lossy(&request.body).contains("token=opaque"))
        .collect();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].headers["traceparent"], PARENT);
    assert_eq!(stats.stats().introspections, 1);
    assert_eq!(stats.stats().failed_introspections, 0);
}

#[tokio::test]
async fn a_feed_is_watched() {
    let issuer = TestIssuer::start().await;
    let verifier = Verifier::builder(issuer.url())
        .audience("notes")
        .client("notes", "hunter2")
        .build()
        .unwrap();
    let url = start(verifier.clone(), None);
    verifier.ready().await;
    let text = metrics(&url).await;
    let feed = verifier.stats().feed.unwrap();
    assert_eq!(feed.is_current, feed.age.is_some());
    assert!(text.contains("verifier_feed_current "), "{text}");
}
