//! Who looks on is told of the library's requests, and of nothing secret.

use std::sync::{Arc, Mutex};

use m2m::{
    TokenSource, http_client,
    testing::TestIssuer,
    watch::{Exchange, watched},
};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::verifier_of;

type Told = Arc<Mutex<Vec<Exchange>>>;

fn listener() -> (Told, impl Fn(Exchange) + Send + Sync + 'static) {
    let told = Told::default();
    let tell = Arc::clone(&told);
    (told, move |exchange| tell.lock().unwrap().push(exchange))
}

fn lines(told: &Told) -> Vec<String> {
    let told = told.lock().unwrap();
    let line = |seen: &Exchange| {
        let (method, path) = (&seen.method, seen.url.path());
        format!("{method} {path} {:?}", seen.status)
    };
    told.iter().map(line).collect()
}

#[tokio::test]
async fn a_call_with_a_token_is_seen_with_all_that_it_needs() {
    let issuer = TestIssuer::start().await;
    let service = MockServer::start().await;
    let answer = ResponseTemplate::new(403).insert_header("x-seen", "1");
    Mock::given(any())
        .respond_with(answer)
        .mount(&service)
        .await;
    let tokens = TokenSource::client_secret(issuer.url(), "me", "m2m_secret").unwrap();
    let http = http_client(std::time::Duration::from_secs(10));

    let (told, tell) = listener();
    let request = || http.get(service.uri() + "/note?a=b");
    watched(tell, tokens.send(request(), &["note.read"], "notes"))
        .await
        .unwrap();
    tokens
        .send(request(), &["note.read"], "notes")
        .await
        .unwrap();
    assert_eq!(
        lines(&told),
        [
            "GET /.well-known/oauth-authorization-server/auth Some(200)",
            "POST /auth/oauth/token Some(200)",
            "GET /note Some(403)",
        ],
        "and the second call was made where nobody looks on"
    );
    let told = told.lock().unwrap();
    let headers = |seen: &Exchange| seen.request_headers.clone();
    let is_in = |name: &str, value: &str, headers: &[(String, String)]| {
        headers.contains(&(name.to_owned(), value.to_owned()))
    };
    assert!(is_in("authorization", "Basic …", &headers(&told[1])));
    assert!(is_in("authorization", "Bearer …", &headers(&told[2])));
    assert!(is_in("x-seen", "1", &told[2].response_headers));
    let all = format!("{told:?}");
    assert!(!all.contains("eyJ") && !all.contains("m2m_secret"), "{all}");
}

/// The key set is fetched on a task of its own, which goes on if the caller hangs up.
#[tokio::test]
async fn what_a_verifier_fetches_is_seen_also_behind_the_caller() {
    let issuer = TestIssuer::start().await;
    let verifier = verifier_of(&issuer, m2m::Clock::System);
    let token = issuer.token().audience("notes").mint();
    let (told, tell) = listener();
    watched(tell, verifier.verify(&token)).await.unwrap();
    assert_eq!(
        lines(&told),
        [
            "GET /.well-known/oauth-authorization-server/auth Some(200)",
            "GET /auth/jwt/jwks.json Some(200)",
        ]
    );
    let (told, tell) = listener();
    issuer.set_down(true);
    watched(tell, verifier.verify(&token)).await.unwrap();
    assert_eq!(lines(&told), [""; 0], "from memory");
}
