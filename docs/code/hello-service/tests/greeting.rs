//! Who is greeted, and who is not. The issuer is one of `m2m`'s, inside this test.

use std::time::Duration;

use m2m::testing::TestIssuer;

#[tokio::test]
async fn only_a_caller_with_the_right_token_is_greeted() {
    let issuer = TestIssuer::start().await;
    let service = hello_service::start(issuer.url(), "localhost:0".parse().unwrap()).unwrap();
    let url = format!("{}/hello", service.url());
    tokio::spawn(service.until_stopped());

    let good = issuer
        .token()
        .audience("hello-service")
        .scope("hello.say")
        .subject("world");
    let stranger = issuer.token().audience("note-service").scope("hello.say");
    let silent = issuer.token().audience("hello-service").scope("hello.hear");
    let late = issuer
        .token()
        .audience("hello-service")
        .scope("hello.say")
        .expires_in(-60);

    let http = m2m::http_client(Duration::from_secs(5));
    for (token, status, says) in [
        (good, 200, r#"{"hello":"world"}"#),
        (stranger, 401, "the token is for another audience"),
        (silent, 403, "the token does not have the scope hello.say"),
        (late, 401, "the token has expired"),
    ] {
        let answer = http
            .get(&url)
            .bearer_auth(token.mint())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status);
        let body = answer.text().await.unwrap();
        assert!(body.contains(says), "{body}");
    }
}
