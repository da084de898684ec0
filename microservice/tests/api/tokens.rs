//! The tokens that the service asks for: one for each target, renewed when it has to be.

use std::time::Duration;

use futures_util::future::join_all;
use m2m::testing::TestIssuer;
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{method, path},
};

use super::{Service, refused, text};

const REFUSAL: (&str, &str) = ("www-authenticate", "Bearer error=\"invalid_token\"");

fn asked(service: &Service) -> usize {
    service.issuer.requests(TestIssuer::TOKEN)
}

async fn target(times: Option<u64>, status: u16) -> MockServer {
    let target = MockServer::start().await;
    let answer = match status {
        401 => ResponseTemplate::new(401).insert_header(REFUSAL.0, REFUSAL.1),
        _ => ResponseTemplate::new(status).set_body_string("hello"),
    };
    let hello = || Mock::given(method("GET")).and(path("/hello"));
    match times {
        None => hello().respond_with(answer).mount(&target).await,
        Some(times) => {
            let first = hello().respond_with(answer).up_to_n_times(times);
            first.with_priority(1).mount(&target).await;
            let then = ResponseTemplate::new(200).set_body_string("hello");
            hello().respond_with(then).mount(&target).await;
        }
    }
    target
}

/// The tokens that a target has seen, in their order.
async fn seen(target: &MockServer) -> Vec<String> {
    let token = |request: &Request| {
        let value = request.headers.get("authorization").unwrap();
        value.to_str().unwrap().to_owned()
    };
    let requests = target.received_requests().await.unwrap();
    requests.iter().map(token).collect()
}

#[tokio::test]
async fn a_hundred_callers_at_once_cause_one_token_request() {
    let target = target(None, 200).await;
    let service = Service::knowing(&[("m2", &target.uri())]).await;
    let greetings = join_all((0..100).map(|_| text(service.query("m2")))).await;
    assert!(greetings.iter().all(|greeting| greeting == "hello"));
    assert_eq!(asked(&service), 1);
    let mut tokens = seen(&target).await;
    assert_eq!(tokens.len(), 100);
    tokens.dedup();
    assert_eq!(tokens.len(), 1);
}

#[tokio::test]
async fn a_token_that_has_ended_is_renewed_once() {
    let target = target(None, 200).await;
    let service = Service::knowing(&[("m2", &target.uri())]).await;
    for (later, requests) in [(0, 1), (0, 1), (3601, 2), (0, 2), (3601, 3)] {
        service.clock.advance(Duration::from_secs(later));
        text(service.query("m2")).await;
        assert_eq!(asked(&service), requests);
    }
}

#[tokio::test]
async fn a_token_that_the_target_refuses_is_renewed_once_and_the_call_succeeds() {
    let target = target(Some(1), 401).await;
    let service = Service::knowing(&[("m2", &target.uri())]).await;
    assert_eq!(text(service.query("m2")).await, "hello");
    assert_eq!(asked(&service), 2);
    let tokens = seen(&target).await;
    assert_eq!(tokens.len(), 2);
    assert_ne!(tokens[0], tokens[1]);
}

#[tokio::test]
async fn a_target_that_refuses_every_token_is_not_asked_for_ever() {
    let target = target(None, 401).await;
    let service = Service::knowing(&[("m2", &target.uri())]).await;
    let (status, problem) = refused(service.query("m2")).await;
    assert_eq!(status, 502, "{problem}");
    assert_eq!((asked(&service), seen(&target).await.len()), (2, 2));
    // The next one begins with the token that is held.
    refused(service.query("m2")).await;
    assert_eq!((asked(&service), seen(&target).await.len()), (3, 4));
}
