//! Tokens that were taken back, on a verifier that follows the issuer's feed.

use std::time::Duration;

use futures_util::FutureExt;
use m2m::{
    Clock, ManualClock, TokenError, Verifier,
    testing::TestIssuer,
    verify::{Feed, Revocation, WhenStale, WhenStale::*},
};
use serde_json::{Value, json};

use crate::{NOW, eventually};

const REVOKED: TokenError = TokenError::Invalid(
    "the token has been revoked: get a new one; when there is none, ask the issuer's administrator",
);

/// An issuer with a feed, and a verifier that has caught up with it.
async fn followed(when_stale: WhenStale) -> (TestIssuer, Verifier, ManualClock) {
    let hand = ManualClock::at(NOW);
    let issuer = TestIssuer::start_at(hand.clock()).await;
    issuer.offer_feed();
    issuer.offer_introspection();
    let verifier = follower(&issuer, hand.clock(), when_stale);
    verifier.ready().await;
    eventually(|| issuer.followers() == 1).await;
    (issuer, verifier, hand)
}

fn follower(issuer: &TestIssuer, clock: Clock, when_stale: WhenStale) -> Verifier {
    Verifier::builder(issuer.url())
        .audience("notes")
        .client("notes", "secret")
        .revocation(Revocation::Feed(Feed {
            when_stale,
            wait_at_start: Duration::from_secs(10),
            ..Feed::default()
        }))
        .clock(clock)
        .build()
        .unwrap()
}

fn good(issuer: &TestIssuer) -> String {
    with_id(issuer, "credential.1")
}

fn with_id(issuer: &TestIssuer, jti: &str) -> String {
    let token = issuer.token().audience("notes").subject("assistant");
    token.claim("jti", jti).expires_in(7200).mint()
}

/// Cuts the feed and lets it grow stale.
async fn cut(issuer: &TestIssuer, hand: &ManualClock) {
    issuer.cut_feed(true);
    eventually(|| issuer.followers() == 0).await;
    hand.advance(Duration::from_secs(31));
}

/// Waits until the verifier says `expected` about a token without having to wait itself.
async fn settles(verifier: &Verifier, token: &str, expected: Option<TokenError>) {
    let outcome = || verifier.verify(token).now_or_never();
    eventually(|| outcome().is_some_and(|outcome| outcome.err() == expected)).await;
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_though_it_was_remembered() {
    let (issuer, verifier, _) = followed(FailOpen).await;
    let (token, other) = (good(&issuer), with_id(&issuer, "credential.2"));
    assert!(verifier.verify(&token).await.is_ok());
    issuer.revoke_token("credential.1");
    settles(&verifier, &token, Some(REVOKED)).await;
    assert!(verifier.verify(&other).await.is_ok());
}

#[tokio::test]
async fn a_key_in_wrong_hands_opens_nothing_though_the_set_still_has_it() {
    let (issuer, verifier, _) = followed(FailOpen).await;
    let (remembered, new) = (good(&issuer), with_id(&issuer, "credential.2"));
    assert!(verifier.verify(&remembered).await.is_ok());
    let times =
        |kid: &str| json!({"kind": "key", "kid": kid, "revoked_at": NOW, "expires_at": NOW + 60});
    issuer.revoke(times("another"));
    issuer.revoke(times(&issuer.key_id()));
    settles(&verifier, &remembered, Some(REVOKED)).await;
    assert_eq!(verifier.verify(&new).await.unwrap_err(), REVOKED);
}

#[tokio::test]
#[rustfmt::skip]
async fn an_entry_revokes_what_it_names_and_nothing_else() {
    let token = |jti: &str| json!({"kind": "token", "jti": jti});
    let client = |id: &str| json!({"kind": "client", "client_id": id});
    let credential = |id: &str| json!({"kind": "credential", "credential": id});
    let grant = |id: &str, aud: &str| json!({"kind": "grant", "client_id": id, "aud": aud});
    let with = |mut entry: Value, name: &str, value: Value| { entry[name] = value; entry };
    let (now, later, never) = (Some(NOW), Some(NOW + 1), None);
    for (entry, jti, iat, revoked) in [
        (token("c.1"), "c.1", now, true),
        (token("c.1"), "c.1", later, true),
        (token("c.1"), "c.1", never, true),
        (token("c.1"), "c.11", now, false),
        (token("c.1"), "C.1", now, false),
        (token("c.1"), "c", now, false),
        (client("assistant"), "c.1", now, true),
        (client("assistant"), "c.1", later, false),
        (client("assistant"), "c.1", never, true),
        (client("assistan"), "c.1", never, false),
        (with(client("assistant"), "revoked_at", json!(NOW - 1)), "c.1", now, false),
        (with(client("assistant"), "something_new", json!([1])), "c.1", now, true),
        (credential("c"), "c.1", now, true),
        (credential("c"), "c.1", later, false),
        (credential("c"), "c.1", never, true),
        (credential("c"), "cc.1", now, false),
        (credential("c"), "c", now, false),
        (credential("c.1"), "c.1", now, false),
        (grant("assistant", "notes"), "c.1", now, true),
        (grant("assistant", "notes"), "c.1", later, false),
        (grant("assistant", "notes"), "c.1", never, true),
        (grant("assistant", "calendar"), "c.1", never, false),
        (grant("somebody", "notes"), "c.1", never, false),
        (with(token("c.1"), "kind", json!("moon")), "c.1", now, false),
        (with(token("c.1"), "kind", json!(7)), "c.1", now, false),
        (json!({"kind": "token"}), "c.1", now, false),
        (with(token("c.1"), "expires_at", json!(NOW - 60)), "c.1", now, true),
        (with(token("c.1"), "expires_at", json!(NOW - 61)), "c.1", now, false),
    ] {
        let hand = ManualClock::at(NOW);
        let issuer = TestIssuer::start_at(hand.clock()).await;
        issuer.offer_feed();
        issuer.revoke(entry.clone());
        let token = issuer.token().audience("notes").subject("assistant");
        let token = token.claim("jti", jti);
        let token = match iat {
            Some(iat) => token.claim("iat", iat).mint(),
            None => token.without_claim("iat").mint(),
        };
        // The first request waits for the feed: what was revoked before the start is refused.
        let verifier = follower(&issuer, hand.clock(), FailOpen);
        let outcome = verifier.verify(&token).await.err();
        assert_eq!(outcome, revoked.then_some(REVOKED), "{entry} {jti} {iat:?}");
        assert_eq!(verifier.health().await, Ok(()));
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_resumed_without_a_gap() {
    let (issuer, verifier, _) = followed(FailClosed).await;
    let tokens = ["a.1", "a.2", "a.3"].map(|jti| with_id(&issuer, jti));
    issuer.revoke_token("a.1");
    settles(&verifier, &tokens[0], Some(REVOKED)).await;
    issuer.cut_feed(true);
    eventually(|| issuer.followers() == 0).await;
    issuer.revoke_token("a.2");
    issuer.revoke_token("a.3");
    issuer.cut_feed(false);
    settles(&verifier, &tokens[1], Some(REVOKED)).await;
    settles(&verifier, &tokens[2], Some(REVOKED)).await;
    assert_eq!(issuer.feed_requests(), [None, Some(1)]);
}

#[tokio::test]
async fn an_issuer_that_counts_anew_is_followed_from_its_beginning() {
    let (issuer, verifier, _) = followed(FailClosed).await;
    let (old, new) = (with_id(&issuer, "a.1"), with_id(&issuer, "a.2"));
    for jti in ["a.1", "x.1", "x.2"] {
        issuer.revoke_token(jti);
    }
    settles(&verifier, &old, Some(REVOKED)).await;
    issuer.forget_revocations();
    issuer.revoke_token("a.2");
    settles(&verifier, &new, Some(REVOKED)).await;
    let refused = verifier.verify(&old).await.unwrap_err();
    assert_eq!(refused, REVOKED, "what was revoked stays revoked");
    issuer.cut_feed(true);
    eventually(|| issuer.followers() == 0).await;
    issuer.cut_feed(false);
    eventually(|| issuer.followers() == 1).await;
    assert_eq!(
        issuer.feed_requests().last(),
        Some(&Some(1)),
        "by the new numbers"
    );
}

#[tokio::test]
async fn while_the_feed_is_cut_tokens_are_treated_as_was_chosen_and_it_heals_by_itself() {
    for (choice, stale) in [
        (FailOpen, None),
        (FailClosed, Some(TokenError::IssuerUnavailable)),
        (
            Introspect,
            Some(TokenError::Invalid("the token is not active")),
        ),
    ] {
        let (issuer, verifier, hand) = followed(choice).await;
        let (known, missed) = (with_id(&issuer, "a.1"), with_id(&issuer, "a.2"));
        let fine = with_id(&issuer, "a.3");
        issuer.revoke_token("a.1");
        settles(&verifier, &known, Some(REVOKED)).await;
        issuer.cut_feed(true);
        eventually(|| issuer.followers() == 0).await;
        issuer.revoke_token("a.2");
        hand.advance(Duration::from_secs(29));
        let outcome = verifier.verify(&missed).await.err();
        assert_eq!(outcome, None, "{choice:?}: what is known is still fresh");

        hand.advance(Duration::from_secs(31));
        assert_eq!(verifier.verify(&missed).await.err(), stale, "{choice:?}");
        assert_eq!(
            verifier.verify(&known).await.unwrap_err(),
            REVOKED,
            "{choice:?}"
        );
        let closed = (choice == FailClosed).then_some(TokenError::IssuerUnavailable);
        assert_eq!(verifier.verify(&fine).await.err(), closed, "{choice:?}");
        assert_eq!(verifier.health().await.is_err(), choice == FailClosed);
        let asked = issuer.requests(TestIssuer::INTROSPECTION);
        assert_eq!(asked > 0, choice == Introspect, "{choice:?}");

        issuer.cut_feed(false);
        settles(&verifier, &missed, Some(REVOKED)).await;
        settles(&verifier, &fine, None).await;
        assert_eq!(verifier.health().await, Ok(()), "{choice:?}");
        let asked = issuer.requests(TestIssuer::INTROSPECTION);
        assert!(verifier.verify(&fine).await.is_ok());
        assert_eq!(
            issuer.requests(TestIssuer::INTROSPECTION),
            asked,
            "{choice:?}"
        );
    }
}

#[tokio::test]
async fn while_the_feed_is_cut_and_nobody_answers_introspection_accepts_nothing() {
    let (issuer, verifier, hand) = followed(Introspect).await;
    let token = good(&issuer);
    assert!(verifier.verify(&token).await.is_ok());
    issuer.answer_introspection(Some((500, json!({}))));
    cut(&issuer, &hand).await;
    let refused = verifier.verify(&token).await.unwrap_err();
    assert_eq!(refused, TokenError::IssuerUnavailable);
    // It asks only about what it would accept itself.
    let forged = issuer.token().audience("notes").unknown_key().mint();
    let asked = issuer.requests(TestIssuer::INTROSPECTION);
    assert!(matches!(
        verifier.verify(&forged).await,
        Err(TokenError::Invalid(_))
    ));
    assert_eq!(issuer.requests(TestIssuer::INTROSPECTION), asked);
}

#[tokio::test]
async fn an_issuer_without_a_feed_leaves_it_to_the_choice() {
    for (choice, outcome) in [
        (FailOpen, None),
        (FailClosed, Some(TokenError::IssuerUnavailable)),
        (Introspect, None),
    ] {
        let issuer = TestIssuer::start_at(ManualClock::at(NOW).clock()).await;
        issuer.offer_introspection();
        let verifier = follower(&issuer, ManualClock::at(NOW).clock(), choice);
        let token = good(&issuer);
        assert_eq!(verifier.verify(&token).await.err(), outcome, "{choice:?}");
        eventually(|| {
            let health = verifier.health().now_or_never().unwrap();
            health.is_err() == (choice == FailClosed)
        })
        .await;
        let asked = issuer.requests(TestIssuer::INTROSPECTION);
        assert_eq!(asked, usize::from(choice == Introspect));
        assert_eq!(issuer.requests(TestIssuer::FEED), 0);
    }
}

#[tokio::test]
async fn a_feed_that_is_never_heard_of_holds_up_the_first_requests_only_for_a_moment() {
    let issuer = TestIssuer::start_at(ManualClock::at(NOW).clock()).await;
    issuer.offer_feed();
    issuer.cut_feed(true);
    let verifier = Verifier::builder(issuer.url())
        .audience("notes")
        .client("notes", "secret")
        .revocation(Revocation::Feed(Feed {
            wait_at_start: Duration::from_millis(20),
            ..Feed::default()
        }))
        .clock(ManualClock::at(NOW).clock())
        .build()
        .unwrap();
    let token = good(&issuer);
    assert!(verifier.health().await.is_err(), "it was not read yet");
    assert!(verifier.verify(&token).await.is_ok());
    assert!(verifier.verify(&token).now_or_never().unwrap().is_ok());
    assert_eq!(verifier.health().await, Ok(()));
}

#[tokio::test]
async fn a_service_that_was_there_before_its_issuer_accepts_nothing_that_is_revoked() {
    let hand = ManualClock::at(NOW);
    let issuer = TestIssuer::start_at(hand.clock()).await;
    issuer.offer_feed();
    issuer.set_down(true);
    issuer.revoke_token("credential.1");
    let verifier = follower(&issuer, hand.clock(), FailOpen);
    let waiting = verifier.clone();
    let waiting = tokio::spawn(async move { waiting.ready().await });
    eventually(|| issuer.requests(TestIssuer::METADATA) > 3).await;
    assert!(verifier.health().await.is_err());
    issuer.set_down(false);
    hand.advance(Duration::from_secs(1)); // after which the keys may be fetched again
    let token = good(&issuer);
    let refused = loop {
        match verifier.verify(&token).await {
            Err(TokenError::IssuerUnavailable) => hand.advance(Duration::from_secs(1)),
            other => break other.err(),
        }
    };
    assert_eq!(refused, Some(REVOKED));
    waiting.await.unwrap();
    assert_eq!(verifier.health().await, Ok(()));
}

#[tokio::test]
async fn what_is_no_entry_is_skipped_and_the_rest_is_obeyed() {
    let hand = ManualClock::at(NOW);
    let issuer = TestIssuer::start_at(hand.clock()).await;
    issuer.offer_feed();
    let entry = format!(
        "{{\"kind\":\"token\",\"jti\":\"credential.1\",\"revoked_at\":{NOW},\"expires_at\":{}}}",
        NOW + 60
    );
    let feed = format!(
        "\u{feff}: hello\n\nretry: never\n\n\
         event: revocation\ndata: <html>\n\n\
         event: revocation\ndata: []\n\n\
         event: revocation\ndata: {{\"kind\":\"token\",\"jti\":7}}\n\n\
         event: revocation\ndata: {{\"kind\":\"moon\",\"revoked_at\":1,\"expires_at\":2}}\n\n\
         event: revocation\nid: x\ndata: {{}}\n\n\
         event: celebration\ndata: {entry}\n\n\
         data: {entry}\n\n\
         garbage\n\0\r\r\n\
         id: 9\r\nevent: revocation\r\ndata: {entry}\r\n\r\n\
         event: current\ndata: {{}}\n\n"
    );
    issuer.script_feed(Some([feed.as_bytes(), b"\xff\xfe\n\n"].concat()));
    let verifier = follower(&issuer, hand.clock(), FailClosed);
    assert_eq!(verifier.verify(&good(&issuer)).await.unwrap_err(), REVOKED);
    assert!(verifier.verify(&with_id(&issuer, "a.1")).await.is_ok());
    issuer.script_feed(None);
    eventually(|| issuer.feed_requests().len() == 2).await;
    assert_eq!(issuer.feed_requests(), [None, Some(9)]);
}

#[tokio::test]
async fn a_feed_that_does_not_say_that_it_is_current_is_not_believed() {
    let long = "x".repeat(10_000_000);
    for (what, feed) in [
        ("nothing", String::new()),
        ("no end of a line", "event: current\ndata: {}".to_owned()),
        (
            "no end of the event",
            "event: current\ndata: {}\n".to_owned(),
        ),
        ("no data", "event: current\n\n".to_owned()),
        ("a comment", ": current\n\n".to_owned()),
        (
            "heartbeats alone",
            "event: heartbeat\ndata: {}\n\n".repeat(9),
        ),
        (
            "a reset",
            "event: reset\ndata: {}\n\nevent: heartbeat\ndata: {}\n\n".to_owned(),
        ),
        (
            "a line of 10 MB",
            format!("data: {long}\n\nevent: current\ndata: {{}}\n\n"),
        ),
        (
            "an event of 10 MB",
            "data: xxxxxxxx\n".repeat(700_000) + "event: current\n\n",
        ),
        ("a line of 10 MB, without an end", long.clone()),
        (
            "a web page",
            "<html>event: current\ndata: {}</html>\n\n".to_owned(),
        ),
    ] {
        let hand = ManualClock::at(NOW);
        let issuer = TestIssuer::start_at(hand.clock()).await;
        issuer.offer_feed();
        issuer.script_feed(Some(feed.into_bytes()));
        let verifier = Verifier::builder(issuer.url())
            .audience("notes")
            .client("notes", "secret")
            .revocation(Revocation::Feed(Feed {
                when_stale: FailClosed,
                wait_at_start: Duration::from_millis(100),
                ..Feed::default()
            }))
            .clock(hand.clock())
            .build()
            .unwrap();
        let refused = verifier.verify(&good(&issuer)).await.unwrap_err();
        assert_eq!(refused, TokenError::IssuerUnavailable, "{what}");
        eventually(|| issuer.requests(TestIssuer::FEED) > 0).await;
        issuer.script_feed(None);
        settles(&verifier, &good(&issuer), None).await;
    }
}

#[tokio::test]
async fn the_feed_is_left_when_the_last_verifier_is_dropped() {
    let (issuer, verifier, _) = followed(FailOpen).await;
    let clone = verifier.clone();
    drop(verifier);
    assert!(clone.verify(&good(&issuer)).await.is_ok());
    assert_eq!(issuer.followers(), 1);
    drop(clone);
    eventually(|| issuer.followers() == 0).await;
}

#[test]
fn a_feed_that_was_followed_in_another_runtime_is_followed_again() {
    let run = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let issuer = run().block_on(TestIssuer::start());
    issuer.offer_feed();
    let hand = ManualClock::at(NOW);
    let verifier = follower(&issuer, hand.clock(), FailClosed);
    run().block_on(verifier.ready());
    hand.advance(Duration::from_secs(31));
    run().block_on(settles(
        &verifier,
        "x",
        Some(TokenError::Invalid(
            "the token does not have three parts: it was cut short, or is not a JWT; send all of the \
             access_token that the issuer gave",
        )),
    ));
    run().block_on(async {
        eventually(|| verifier.health().now_or_never().unwrap().is_ok()).await;
    });
}

#[tokio::test]
async fn credentials_may_come_later_and_change() {
    let file = std::env::temp_dir().join(format!("m2m-clients-{}.json", std::process::id()));
    let hand = ManualClock::at(NOW);
    let issuer = TestIssuer::start_at(hand.clock()).await;
    issuer.offer_feed();
    let verifier = Verifier::builder(issuer.url())
        .audience("notes")
        .client_from_file(&file, "notes")
        .revocation(Revocation::Feed(Feed {
            wait_at_start: Duration::from_millis(20),
            ..Feed::default()
        }))
        .clock(hand.clock())
        .build()
        .unwrap();
    let token = good(&issuer);
    issuer.revoke_token("credential.1");
    assert!(
        verifier.verify(&token).await.is_ok(),
        "nobody waits for long"
    );
    assert_eq!(issuer.requests(TestIssuer::FEED), 0);
    std::fs::write(
        &file,
        r#"{"notes": {"clientId": "notes", "clientSecret": "s"}}"#,
    )
    .unwrap();
    settles(&verifier, &token, Some(REVOKED)).await;
    std::fs::remove_file(&file).unwrap();
}
