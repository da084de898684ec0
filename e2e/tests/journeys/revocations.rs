//! A token is taken back while it is in use, and the calendar, which verifies by itself, hears of it.

use m2m::Clock;
use reqwest::{Client, StatusCode};

use crate::support::{CALENDAR, Provider, calendar_with, until};

/// Starts a calendar that learns of revocations in the way that `arguments` say.
async fn calendar_of(provider: &Provider, arguments: &[&str]) -> String {
    let clients_file = provider.clients_file().display().to_string();
    let arguments = [arguments, &["--clients-file", &clients_file]].concat();
    let url = calendar_with(&provider.issuer, &Clock::System, &arguments);
    let ready = url.clone() + "/ready";
    until("the calendar is ready", async || {
        provider
            .http
            .get(&ready)
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
    })
    .await;
    url + "/event"
}

async fn token(provider: &Provider) -> String {
    let source = provider.tokens("assistant"); // each source fetches a token of its own
    source
        .token(&["calendar.read"], CALENDAR)
        .await
        .unwrap()
        .expose()
        .to_owned()
}

async fn status(http: &Client, events: &str, token: &str) -> StatusCode {
    http.get(events)
        .bearer_auth(token)
        .send()
        .await
        .unwrap()
        .status()
}

async fn revoke(provider: &Provider, token: &str) {
    let request = provider.http.post(provider.url("/oauth/revoke"));
    let request = request.basic_auth("assistant", Some(provider.secret("assistant")));
    let answer = request.form(&[("token", token)]).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[actix_web::test]
async fn a_revoked_token_is_soon_refused_and_never_accepted_again() {
    let provider = Provider::start().await;
    for arguments in [
        &["--revocation", "feed"][..],
        &["--revocation", "introspection"],
    ] {
        let events = calendar_of(&provider, arguments).await;
        let (taken_back, other) = (token(&provider).await, token(&provider).await);
        // Introspection would believe its last answer for ten seconds: nobody asked about this one yet.
        if arguments[1] == "feed" {
            assert_eq!(
                status(&provider.http, &events, &taken_back).await,
                StatusCode::OK
            );
        }
        assert_eq!(
            status(&provider.http, &events, &other).await,
            StatusCode::OK
        );

        revoke(&provider, &taken_back).await;
        let refused =
            async || status(&provider.http, &events, &taken_back).await == StatusCode::UNAUTHORIZED;
        until("the token is refused", refused).await;
        for _ in 0..20 {
            assert!(refused().await, "{arguments:?}");
        }
        assert_eq!(
            status(&provider.http, &events, &other).await,
            StatusCode::OK
        );
    }
}

/// The provider dies between its answer to the revocation and anybody's hearing of it.
#[actix_web::test]
async fn a_revocation_outlives_the_provider() {
    let mut provider = Provider::start().await;
    let taken_back = token(&provider).await;
    revoke(&provider, &taken_back).await;
    provider.down().await;
    provider.up().await;
    let events = calendar_of(&provider, &["--revocation", "feed"]).await;
    assert_eq!(
        status(&provider.http, &events, &taken_back).await,
        StatusCode::UNAUTHORIZED
    );
}

#[actix_web::test]
async fn a_feed_that_broke_off_is_taken_up_again_by_itself() {
    let mut provider = Provider::start().await;
    let events = calendar_of(&provider, &["--revocation", "feed"]).await;
    let taken_back = token(&provider).await;
    assert_eq!(
        status(&provider.http, &events, &taken_back).await,
        StatusCode::OK
    );
    provider.down().await;
    assert_eq!(
        status(&provider.http, &events, &taken_back).await,
        StatusCode::OK,
        "still fresh"
    );
    provider.up().await;
    revoke(&provider, &taken_back).await;
    let refused =
        async || status(&provider.http, &events, &taken_back).await == StatusCode::UNAUTHORIZED;
    until("the token is refused", refused).await;
}
