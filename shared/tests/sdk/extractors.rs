//! What a server answers to callers, with and without a token (RFC 6750 section 3).

use actix_web::web;
use m2m::{
    Scope, Verifier,
    actix::Caller,
    service::{HttpMetrics, Listen, serve},
    testing::TestIssuer,
};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::issuer_and_verifier;

const REALM: &str = r#"Bearer realm="notes""#;

struct NoteRead;

impl Scope for NoteRead {
    const NAME: &'static str = "note.read";
}

async fn anybody(caller: Caller) -> String {
    caller.subject().to_owned()
}

async fn reader(caller: Caller<NoteRead>) -> String {
    caller.client_id().unwrap_or("nobody").to_owned()
}

/// Starts a server with the routes `/any` and `/read`, and says where it is.
fn start(verifier: Option<Verifier>) -> String {
    let listeners = Listen::Loopback { port: 0 }.bind().unwrap();
    let address = listeners[0].local_addr().unwrap();
    let server = serve(listeners, Some(1), &HttpMetrics::default(), move |cfg| {
        if let Some(verifier) = &verifier {
            cfg.app_data(web::Data::new(verifier.clone()));
        }
        cfg.route("/any", web::get().to(anybody))
            .route("/read", web::get().to(reader));
    })
    .unwrap();
    tokio::spawn(server);
    format!("http://{address}")
}

async fn setup() -> (TestIssuer, String) {
    let (issuer, verifier, _) = issuer_and_verifier().await;
    (issuer, start(Some(verifier)))
}

fn get(url: String) -> RequestBuilder {
    m2m::http_client(std::time::Duration::from_secs(10)).get(url)
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

#[tokio::test]
async fn a_caller_with_the_scope_comes_in_however_the_scheme_is_spelled() {
    let (issuer, url) = setup().await;
    let token = issuer
        .token()
        .audience("notes")
        .subject("assistant")
        .scope("note.read")
        .mint();
    for value in [
        format!("Bearer {token}"),
        format!("bearer {token}"),
        format!("BEARER   {token}"),
    ] {
        for path in ["/any", "/read"] {
            let response = get(format!("{url}{path}"))
                .header("Authorization", &value)
                .send()
                .await;
            let response = response.unwrap();
            assert_eq!(response.status(), 200, "{path}");
            assert_eq!(response.text().await.unwrap(), "assistant");
        }
    }
}

#[tokio::test]
#[rustfmt::skip]
async fn a_caller_who_may_not_come_in_is_told_why() {
    let (issuer, url) = setup().await;
    let token = || issuer.token().audience("notes");
    let good = token().scope("note.read").mint();
    let other_scope = token().scope("note.write NOTE.READ note.read.x").mint();
    let no_scope = token().mint();
    let expired = token().scope("note.read").expires_in(-60).mint();
    let forged = token().scope("note.read").unknown_key().mint();
    let elsewhere = issuer.token().audience("calendar").scope("note.read").mint();
    let bearer = |token: &str| vec![format!("Bearer {token}")];

    let refusal = |error: &str, why: &str| {
        format!(r#"{REALM}, error="{error}", error_description="{why}"#)
    };
    let invalid = |why: &str| refusal("invalid_token", why);
    let several = |why: &str| refusal("invalid_request", why);
    let scope = "the token does not have the scope note.read";
    let scope = refusal("insufficient_scope", scope);
    let no_parts = invalid("the token does not have three parts");
    let foreign_key = invalid("the token is signed with a key that is not the issuer's");
    let other_audience = invalid("the token is for another audience");
    let nothing_behind = invalid("there is no token behind Bearer in the Authorization header");
    let one_header = several("send one Authorization header, not several");
    let only_header = several("send the token in the Authorization header only");

    let basic = vec!["Basic YTpi".to_owned()];
    let query = format!("?access_token={good}");

    for (what, query, headers, status, challenge) in [
        ("no token", "", vec![], 401, REALM.to_owned()),
        ("an empty header", "", vec![String::new()], 401, REALM.to_owned()),
        ("another scheme", "", basic.clone(), 401, REALM.to_owned()),
        ("DPoP", "", vec![format!("DPoP {good}")], 401, REALM.to_owned()),
        ("a token without scheme", "", vec![good.clone()], 401, REALM.to_owned()),
        ("a token in the query", query.as_str(), vec![], 401, REALM.to_owned()),
        ("Bearer", "", vec!["Bearer".to_owned()], 401, nothing_behind.clone()),
        ("Bearer and a blank", "", vec!["Bearer ".to_owned()], 401, nothing_behind.clone()),
        ("Bearer, joined", "", vec![format!("Bearer{good}")], 401, nothing_behind),
        ("a token that is none", "", bearer("x"), 401, no_parts.clone()),
        ("a list of tokens", "", bearer(&format!("{good}, Bearer {good}")), 401, no_parts),
        ("an expired token", "", bearer(&expired), 401, invalid("the token has expired")),
        ("a forged token", "", bearer(&forged), 401, foreign_key),
        ("a token for another", "", bearer(&elsewhere), 401, other_audience),
        ("another scope", "", bearer(&other_scope), 403, scope.clone()),
        ("no scope", "", bearer(&no_scope), 403, scope),
        ("two headers", "", [bearer(&good), bearer(&good)].concat(), 400, one_header.clone()),
        ("two schemes", "", [bearer(&good), basic.clone()].concat(), 400, one_header),
        ("header and query", query.as_str(), bearer(&good), 400, only_header.clone()),
        ("header and query, escaped", "?a=b&access%5Ftoken=", bearer(&good), 400, only_header),
    ] {
        let request = get(format!("{url}/read{query}"));
        let request = headers.iter().fold(request, |r, value| r.header("Authorization", value));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{what}");
        let sent = header(&response, "WWW-Authenticate").unwrap().to_owned();
        assert!(sent.starts_with(&challenge) && (sent == challenge) == (challenge == REALM), "{what}: {sent}");
        assert_eq!(sent.ends_with(r#", scope="note.read""#), status == 403, "{what}: {sent}");
        assert_eq!(header(&response, "Content-Type"), Some("application/problem+json"), "{what}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["status"], status, "{what}");
        assert!(body["title"].is_string() && body["detail"].is_string(), "{what}: {body}");
        // The body says the same as the header.
        for name in ["error", "error_description"] {
            let quoted = body.get(name).map(|text| format!("{name}={text}"));
            assert_eq!(quoted.is_some(), sent.contains(name), "{what}: {body}");
            assert!(quoted.is_none_or(|quoted| sent.contains(&quoted)), "{what}: {body}");
        }
    }
}

#[tokio::test]
async fn while_the_keys_cannot_be_had_nobody_is_called_a_liar() {
    let (issuer, url) = setup().await;
    issuer.set_down(true);
    let token = issuer.token().audience("notes").scope("note.read").mint();
    let response = get(format!("{url}/read"))
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(header(&response, "Retry-After"), Some("5"));
    assert_eq!(header(&response, "WWW-Authenticate"), None);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"], json!("temporarily_unavailable"));

    let response = get(format!("{url}/read")).send().await.unwrap();
    assert_eq!(response.status(), 401, "without a token no key is needed");
}

#[tokio::test]
async fn a_server_without_a_verifier_lets_nobody_in() {
    let (issuer, _, _) = issuer_and_verifier().await;
    let url = start(None);
    let token = issuer.token().audience("notes").mint();
    let response = get(format!("{url}/any"))
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 500);
}
