//! How the verifier gets the issuer's keys, keeps them, and when it asks again.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, future::join_all};
use m2m::{TokenError, Verifier, testing::TestIssuer};
use serde_json::json;

use crate::{eventually, issuer_and_verifier};

const UNKNOWN_KEY: TokenError = TokenError::Invalid(
    "the token is signed with a key that is not the issuer's: get a new one from the issuer that this \
     service trusts",
);

fn good(issuer: &TestIssuer) -> String {
    issuer.token().audience("notes").mint()
}

fn forged(issuer: &TestIssuer) -> String {
    issuer.token().audience("notes").unknown_key().mint()
}

async fn outcomes(verifier: &Verifier, tokens: &[String]) -> Vec<Option<TokenError>> {
    join_all(
        tokens
            .iter()
            .map(|token| async { verifier.verify(token).await.err() }),
    )
    .await
}

fn fetches(issuer: &TestIssuer) -> usize {
    issuer.requests(TestIssuer::KEY_SET)
}

/// How often the issuer was asked for keys; after a failure it is first asked where they are.
fn requests(issuer: &TestIssuer) -> usize {
    fetches(issuer) + issuer.requests(TestIssuer::METADATA) - 1
}

#[tokio::test]
async fn the_first_token_loads_the_keys_and_the_next_ones_do_not() {
    let (issuer, verifier, _) = issuer_and_verifier().await;
    assert_eq!(
        issuer.requests(TestIssuer::METADATA),
        0,
        "building asks nobody"
    );
    let tokens = [good(&issuer), good(&issuer), good(&issuer)];
    assert_eq!(outcomes(&verifier, &tokens).await, [None, None, None]);
    assert_eq!(issuer.requests(TestIssuer::METADATA), 1);
    assert_eq!(fetches(&issuer), 1, "they shared one fetch");
}

#[tokio::test]
async fn a_hundred_made_up_keys_cost_one_request_in_half_a_minute() {
    let (issuer, verifier, hand) = issuer_and_verifier().await;
    verifier.ready().await;
    let tokens: Vec<_> = (0..100).map(|_| forged(&issuer)).collect();
    let refused = vec![Some(UNKNOWN_KEY); 100];
    assert_eq!(outcomes(&verifier, &tokens).await, refused);
    assert_eq!(fetches(&issuer), 2);

    hand.advance(Duration::from_millis(29_999));
    assert_eq!(outcomes(&verifier, &tokens).await, refused);
    assert_eq!(fetches(&issuer), 2);

    hand.advance(Duration::from_millis(1));
    assert_eq!(outcomes(&verifier, &tokens).await, refused);
    assert_eq!(fetches(&issuer), 3);
    assert_eq!(
        issuer.requests(TestIssuer::METADATA),
        1,
        "it knows where the key set is"
    );
}

#[tokio::test]
async fn the_pause_also_follows_a_fetch_that_failed() {
    let (issuer, verifier, hand) = issuer_and_verifier().await;
    verifier.ready().await;
    issuer.set_down(true);
    for _ in 0..10 {
        assert_eq!(
            verifier.verify(&forged(&issuer)).await.unwrap_err(),
            UNKNOWN_KEY
        );
    }
    assert_eq!(fetches(&issuer), 2);
    assert!(
        verifier.verify(&good(&issuer)).await.is_ok(),
        "the known key is still there"
    );

    // The metadata is asked anew, since the key set may have moved.
    hand.advance(Duration::from_secs(30));
    issuer.set_down(false);
    assert_eq!(
        verifier.verify(&forged(&issuer)).await.unwrap_err(),
        UNKNOWN_KEY
    );
    assert_eq!(issuer.requests(TestIssuer::METADATA), 2);
    assert_eq!(fetches(&issuer), 3);
}

#[tokio::test]
async fn the_pause_also_holds_while_the_key_set_is_empty() {
    let (issuer, verifier, hand) = issuer_and_verifier().await;
    let keys = issuer.key_set();
    issuer.serve_key_set(json!({"keys": []}));
    for _ in 0..10 {
        assert_eq!(
            verifier.verify(&good(&issuer)).await.unwrap_err(),
            UNKNOWN_KEY
        );
    }
    assert_eq!(
        fetches(&issuer),
        2,
        "the first load, and one look for the key"
    );
    assert!(verifier.health().await.unwrap_err().contains("no key"));

    issuer.serve_key_set(keys);
    hand.advance(Duration::from_secs(30));
    assert!(verifier.verify(&good(&issuer)).await.is_ok());
    assert_eq!(verifier.health().await, Ok(()));
}

#[tokio::test]
async fn a_call_that_hangs_up_does_not_use_up_the_look_for_a_new_key() {
    let (issuer, verifier, _) = issuer_and_verifier().await;
    verifier.ready().await;
    issuer.rotate_key();
    let token = good(&issuer);
    assert!(
        verifier.verify(&token).now_or_never().is_none(),
        "begun and dropped"
    );
    eventually(|| fetches(&issuer) == 2).await;
    assert!(verifier.verify(&token).await.is_ok());
    assert_eq!(fetches(&issuer), 2);
}

#[tokio::test]
async fn a_rotation_interrupts_nobody() {
    let (issuer, verifier, _) = issuer_and_verifier().await;
    let before = good(&issuer);
    assert!(verifier.verify(&before).await.is_ok());
    issuer.rotate_key();
    let after = good(&issuer);
    assert_eq!(
        outcomes(&verifier, &[before.clone(), after.clone()]).await,
        [None, None]
    );
    assert_eq!(fetches(&issuer), 2);
}

#[tokio::test]
async fn a_remembered_token_falls_with_its_key() {
    let (issuer, verifier, hand) = issuer_and_verifier().await;
    let token = good(&issuer);
    assert!(verifier.verify(&token).await.is_ok());
    issuer.rotate_key();
    issuer.withdraw_old_keys();
    hand.advance(Duration::from_mins(5));
    assert!(
        verifier.verify(&token).await.is_ok(),
        "the set is due, and fetched behind this call"
    );
    let new = good(&issuer);
    eventually(|| fetches(&issuer) == 2).await;
    assert!(verifier.verify(&new).await.is_ok());
    assert_eq!(verifier.verify(&token).await.unwrap_err(), UNKNOWN_KEY);
}

#[tokio::test]
async fn a_set_that_is_due_is_fetched_once_and_behind_the_calls() {
    let (issuer, verifier, hand) = issuer_and_verifier().await;
    verifier.ready().await;
    hand.advance(Duration::from_millis(299_999));
    assert!(verifier.verify(&good(&issuer)).await.is_ok());
    assert_eq!(fetches(&issuer), 1, "max-age is 300 s");

    hand.advance(Duration::from_millis(1));
    for _ in 0..10 {
        let outcome = verifier.verify(&good(&issuer)).now_or_never();
        assert!(outcome.expect("nobody waits").is_ok());
    }
    eventually(|| fetches(&issuer) == 2).await;
}

/// Keys that change faster than the pause between looks for an unknown one are followed as fast as the issuer says:
/// by the set's `max-age`.
#[tokio::test]
async fn a_new_key_is_found_whenever_the_set_is_due() {
    let (issuer, verifier, hand) = issuer_and_verifier().await;
    verifier.ready().await;
    for _ in 0..3 {
        issuer.rotate_key();
        hand.advance(Duration::from_mins(5));
        assert!(verifier.verify(&good(&issuer)).await.is_ok());
    }
}

#[tokio::test]
async fn while_the_issuer_is_down_a_set_that_is_due_is_asked_for_every_ten_seconds() {
    let (issuer, verifier, hand) = issuer_and_verifier().await;
    verifier.ready().await;
    issuer.set_down(true);
    hand.advance(Duration::from_mins(5));
    // A made-up key waits for what is begun behind its call. The second one is allowed a look of
    // its own.
    for (seconds, asked) in [(0, 2), (0, 3), (0, 3), (9, 3), (1, 4), (0, 4)] {
        hand.advance(Duration::from_secs(seconds));
        assert_eq!(
            verifier.verify(&forged(&issuer)).await.unwrap_err(),
            UNKNOWN_KEY
        );
        assert_eq!(requests(&issuer), asked, "after {seconds} s more");
    }
    assert!(verifier.verify(&good(&issuer)).await.is_ok());
}

#[tokio::test]
async fn keys_bridge_an_outage_of_a_day_and_no_longer() {
    let (issuer, verifier, hand) = issuer_and_verifier().await;
    verifier.ready().await;
    issuer.set_down(true);
    let day = Duration::from_hours(24);
    hand.advance(day);
    let token = issuer
        .token()
        .audience("notes")
        .expires_in(7 * 86_400)
        .mint();
    assert!(verifier.verify(&token).await.is_ok());
    assert_eq!(verifier.health().await, Ok(()));

    hand.advance(Duration::from_millis(1));
    let refused = verifier.verify(&token).await.unwrap_err();
    assert_eq!(
        refused,
        TokenError::IssuerUnavailable,
        "also for a token that is remembered"
    );
    let reason = verifier.health().await.unwrap_err();
    assert!(
        reason.contains(issuer.url()) && reason.contains("503"),
        "{reason}"
    );

    issuer.set_down(false);
    hand.advance(Duration::from_secs(1));
    assert!(verifier.verify(&token).await.is_ok());
}

#[tokio::test]
async fn a_server_that_is_only_asked_for_its_health_gets_keys_again() {
    let (issuer, verifier, hand) = issuer_and_verifier().await;
    verifier.ready().await;
    hand.advance(Duration::from_hours(25));
    assert!(verifier.health().await.is_err());
    eventually(|| fetches(&issuer) == 2).await;
    eventually(|| verifier.health().now_or_never() == Some(Ok(()))).await;
}

#[tokio::test]
async fn without_any_keys_the_issuer_is_asked_once_a_second() {
    let (issuer, verifier, hand) = issuer_and_verifier().await;
    issuer.set_down(true);
    let tokens: Vec<_> = (0..20).map(|_| good(&issuer)).collect();
    let unavailable = vec![Some(TokenError::IssuerUnavailable); 20];
    assert_eq!(outcomes(&verifier, &tokens).await, unavailable);
    assert_eq!(outcomes(&verifier, &tokens).await, unavailable);
    assert_eq!(issuer.requests(TestIssuer::METADATA), 1);

    hand.advance(Duration::from_secs(1));
    issuer.set_down(false);
    assert_eq!(outcomes(&verifier, &tokens).await, vec![None; 20]);
    assert_eq!(issuer.requests(TestIssuer::METADATA), 2);
}

#[tokio::test]
async fn ready_waits_for_an_issuer_that_comes_later() {
    let (issuer, verifier, _) = issuer_and_verifier().await;
    issuer.set_down(true);
    let reason = verifier.health().await.unwrap_err();
    assert!(reason.contains("not fetched yet"), "{reason}");
    let issuer = Arc::new(issuer);
    let waiting = tokio::spawn({
        let verifier = verifier.clone();
        async move { verifier.ready().await }
    });
    eventually(|| issuer.requests(TestIssuer::METADATA) > 0).await;
    issuer.set_down(false);
    waiting.await.unwrap();
    assert_eq!(verifier.health().await, Ok(()));
}
