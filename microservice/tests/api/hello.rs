//! `GET /hello`: who is greeted, and who is not.

use m2m::testing::refusals;

use super::{Service, header, refused, text};

#[tokio::test]
async fn a_caller_with_a_token_is_greeted_by_name() {
    let service = Service::start().await;
    let hello = service.anonymous("GET", "/hello");
    assert_eq!(
        text(hello.bearer_auth(service.token())).await,
        "Hello to m3 from m1!"
    );
}

#[tokio::test]
async fn a_caller_without_a_good_token_is_not_greeted_and_told_why() {
    let service = Service::start().await;
    for refusal in refusals(&service.issuer, "m1", "hello") {
        let request = service.anonymous("GET", "/hello");
        refusal.check("m1", request).await;
    }
    let stranger = service.issuer.token().audience("m1").scope("").mint();
    let hello = service.anonymous("GET", "/hello").bearer_auth(stranger);
    let (status, problem) = refused(hello).await;
    assert_eq!(
        (status, &problem["error"]),
        (403, &"insufficient_scope".into())
    );
}

#[tokio::test]
async fn what_is_asked_in_another_way_is_refused() {
    let service = Service::start().await;
    for (method, path, status, allow) in [
        ("POST", "/hello", 405, "GET, HEAD"),
        ("DELETE", "/hello", 405, "GET, HEAD"),
        ("GET", "/query", 405, "POST"),
        ("PUT", "/query", 405, "POST"),
        ("GET", "/", 404, ""),
        ("GET", "/hello/", 404, ""),
        ("GET", "/hello/../hello/m2", 404, ""),
        ("GET", "/%00", 404, ""),
        ("GET", "/%ff%fe", 404, ""),
        ("POST", "/accesstoken", 404, ""),
    ] {
        let request = service.anonymous(method, path).bearer_auth(service.token());
        let answer = request.try_clone().unwrap().send().await.unwrap();
        assert_eq!(header(&answer, "allow"), allow, "{method} {path}");
        assert_eq!(refused(request).await.0, status, "{method} {path}");
    }
    let health = service.anonymous("GET", "/health").send().await.unwrap();
    assert_eq!(health.status(), 200);
}
