//! Tokens that are no longer good: how services notice, and how callers come by new ones.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    web::{self, Data},
};
use m2m::{
    AnyScope, Clock, FetchError, ManualClock, SendError, TokenSource, Verifier,
    actix::Caller,
    service::{Problem, ResourceServer},
};

use crate::support::{CALENDAR, NOTES, Provider, calendar, refusal, run};

const READ: &[&str] = &["calendar.read"];

#[tokio::test]
async fn a_provider_that_lost_its_data_is_followed_by_a_service_that_runs_on() {
    let mut provider = Provider::start().await;
    let clock = ManualClock::at(Clock::System.now());
    let events = calendar(&provider.issuer, &clock.clock()) + "/event";
    let http = provider.http.clone();
    let list = async |tokens: &TokenSource| tokens.send(http.get(&events), READ, CALENDAR).await;
    let first = provider.tokens("assistant");
    assert_eq!(list(&first).await.unwrap().status(), 200);
    let old = first.token(READ, CALENDAR).await.unwrap();

    provider.down().await;
    provider.lose_all_data();
    provider.up().await;
    // The new token names a key that the service does not know: it fetches the key set anew.
    let second = provider.tokens("assistant");
    assert_eq!(list(&second).await.unwrap().status(), 200);
    let answer = refusal(http.get(&events).bearer_auth(old.expose())).await;
    assert_eq!(answer.status, 401);
    assert!(
        answer.challenge.contains("error=\"invalid_token\"")
            && answer.challenge.contains("a key that is not the issuer's"),
        "{}",
        answer.challenge
    );
    // Who has only the old secret learns that: its token is dropped, and no new one to be had.
    match list(&first).await.unwrap_err() {
        SendError::Token(FetchError::Refused { error, .. }) => assert_eq!(error, "invalid_client"),
        other => panic!("{other:?}"),
    }
    assert!(first.peek(READ, CALENDAR).is_none());

    // Strangers cannot make the service ask for keys all the time, so a second loss within half a
    // minute is noticed late.
    provider.down().await;
    provider.lose_all_data();
    provider.up().await;
    let third = provider.tokens("assistant");
    assert_eq!(list(&third).await.unwrap().status(), 401);
    clock.advance(Duration::from_secs(30));
    assert_eq!(list(&third).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_the_request_sent_once_more() {
    let now = Clock::System.now();
    let (world, own) = (ManualClock::at(now), ManualClock::at(now));
    let provider = Provider::start_with("", world.clock()).await;
    let knocks = Arc::new(AtomicUsize::new(0));
    let door = door(&provider.issuer, world.clock(), &knocks);
    let tokens = TokenSource::builder(&provider.issuer, "assistant", provider.secret("assistant"))
        .clock(own.clock())
        .build()
        .unwrap();
    let knock = async |scopes: &[&str], resource: &str| {
        let before = knocks.load(Ordering::SeqCst);
        let sent = tokens
            .send(provider.http.get(&door), scopes, resource)
            .await;
        let status = sent.unwrap().status().as_u16();
        (status, knocks.load(Ordering::SeqCst) - before)
    };
    assert_eq!(knock(READ, CALENDAR).await, (200, 1));
    let first = tokens.token(READ, CALENDAR).await.unwrap();

    // The caller's clock stands still, so it takes the token for a good one.
    world.advance(Duration::from_hours(2));
    assert_eq!(knock(READ, CALENDAR).await, (200, 2));
    let second = tokens.peek(READ, CALENDAR).unwrap();
    assert_ne!(first.expose(), second.expose());
    assert_eq!(knock(READ, CALENDAR).await, (200, 1));

    // A token for another service does not get better by asking.
    assert_eq!(knock(&["note.read"], NOTES).await, (401, 2));
}

/// A calendar that does nothing but count who asks.
fn door(issuer: &str, clock: Clock, knocks: &Arc<AtomicUsize>) -> String {
    async fn knock(
        knocks: Data<AtomicUsize>,
        request: HttpRequest,
    ) -> Result<HttpResponse, Problem> {
        knocks.fetch_add(1, Ordering::SeqCst);
        Caller::<AnyScope>::extract(&request).await?;
        Ok(HttpResponse::Ok().finish())
    }

    let verifier = Verifier::builder(issuer).audience(CALENDAR).clock(clock);
    let server = ResourceServer {
        listen: "127.0.0.1:0".parse().unwrap(),
        behind_tls_proxy: false,
        workers: Some(1),
        verifier: verifier.build().unwrap(),
    };
    let knocks = Data::from(Arc::clone(knocks));
    let routes = move |cfg: &mut web::ServiceConfig| {
        cfg.app_data(knocks.clone())
            .route("/", web::get().to(knock));
    };
    run(server.start(routes).unwrap())
}
