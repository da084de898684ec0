//! Tokens that somebody has changed or made up.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Experiment, Finding,
    forgery::{ForgersKey, Parts},
    workbench::{Token, Workbench, at},
};
use crate::{failure::Failure, wire::Answer};

pub(super) const TAMPERED_CLAIM: Experiment = Experiment {
    name: "tampered-claim",
    title: "A token with one word changed",
    question: "The claims of a token are no secret: base64url, not encrypted. The assistant writes \
               calendar.write where its token says calendar.read, and leaves the rest as it is. What does \
               the calendar say?",
    answers: &[
        "200: the claims are what counts",
        "401: the signature does not fit to these claims",
        "403: the calendar remembers what was granted",
    ],
    right: 1,
    explanation: "Whoever has a token can read it, and anybody can write another one. But the third part \
                  is the provider's signature over the first two, byte by byte: with one letter changed \
                  it does not fit any more, and only the holder of the private key can make another. The \
                  calendar remembers nothing and asks nobody; it checks the signature with the \
                  provider's public key before it believes a word of the claims.",
    sources: &["RFC 7515 section 5.2", "RFC 7519 section 7.2"],
    otherwise: "If the calendar accepted it, the attack succeeded: everybody can write himself any right. \
                Does this service verify signatures, or does it only decode?",
    run: |bench| Box::pin(tampered_claim(bench)),
};

async fn tampered_claim(bench: &mut Workbench) -> Result<Finding, Failure> {
    let token = token_that_may_read(bench).await?;
    bench.step("Change a claim, and keep the signature.");
    let mut parts = Parts::of(&token)?;
    let before = wish_for_more(&mut parts);
    bench.remark(format!("scope: {before} → calendar.write"));
    let answer = delete_with(bench, &parts.with_old_signature()).await?;
    Ok(finding(&answer))
}

pub(super) const ALG_NONE: Experiment = Experiment {
    name: "alg-none",
    title: "A token that says it needs no signature",
    question: "The standard for signed tokens knows an algorithm named `none`. The assistant writes \
               `\"alg\": \"none\"` into the header, the scope it would like to have into the claims, and \
               leaves the signature out. What does the calendar say?",
    answers: &[
        "200: the token says that it has no signature, and it has none",
        "401: the token has no say in how it is checked",
        "403: unsigned tokens may only read",
    ],
    right: 1,
    explanation: "The header is written by whoever wrote the token, so by the attacker. A verifier that \
                  does what it says has let the attacker choose the lock. This one has a list of its own, \
                  and takes the algorithm from the issuer's key: what the token says must agree with \
                  that, and `none` is in no list. It was a real hole in many libraries at once.",
    sources: &[
        "RFC 8725 sections 2.1 and 3.1",
        "RFC 9068 section 4",
        "RFC 7515 appendix A.5",
    ],
    otherwise: "If the calendar accepted it, the attack succeeded: everybody can write tokens, without any \
                key. Does this service let the token choose the algorithm?",
    run: |bench| Box::pin(alg_none(bench)),
};

async fn alg_none(bench: &mut Workbench) -> Result<Finding, Failure> {
    let token = token_that_may_read(bench).await?;
    bench.step("Write a token without a signature, with more rights.");
    let mut parts = Parts::of(&token)?;
    wish_for_more(&mut parts);
    parts.header.insert("alg".to_owned(), json!("none"));
    bench.remark(format!("header: {}", Value::Object(parts.header.clone())));
    bench.remark("claims: as they were, with the scope calendar.write; signature: empty");
    let answer = delete_with(bench, &parts.unsigned()).await?;
    Ok(finding(&answer))
}

pub(super) const UNKNOWN_KEY: Experiment = Experiment {
    name: "unknown-key",
    title: "A token signed with the forger's own key",
    question: "The assistant makes a key of its own and signs a token with it, properly. Once it says so \
               in the header, with a `kid` that nobody knows; once it claims the `kid` of the provider's \
               key. What does the calendar say?",
    answers: &[
        "200 both times: a good signature is a good signature",
        "401 both times: only the provider's keys count, and the name of a key is not the key",
        "401 for the unknown `kid`, 200 for the provider's",
    ],
    right: 1,
    explanation: "A signature proves who signed only if one knows whose key it is. The calendar takes keys \
                  from one place, the key set that its issuer publishes, and its issuer is configured. \
                  `kid` only says which of those keys to try: an unknown one makes the calendar look once \
                  whether the provider has a new key, and a borrowed one leads to a key that the \
                  signature does not fit.",
    sources: &[
        "RFC 7515 section 4.1.4",
        "RFC 7517 section 5",
        "RFC 8725 section 3.8",
    ],
    otherwise: "If the calendar accepted one of them, the attack succeeded: everybody who can make a key \
                can write tokens. Where does this service take its keys from?",
    run: |bench| Box::pin(unknown_key(bench)),
};

async fn unknown_key(bench: &mut Workbench) -> Result<Finding, Failure> {
    let token = token_that_may_read(bench).await?;
    let key = ForgersKey::new();
    let mut parts = Parts::of(&token)?;
    wish_for_more(&mut parts);
    bench.step("Sign a token with a key of one's own, under a name of its own.");
    let mut own = Parts::of(&token)?;
    own.claims.clone_from(&parts.claims);
    own.header.insert("alg".to_owned(), json!("ES256"));
    own.header
        .insert("kid".to_owned(), json!("the-forgers-key"));
    let first = delete_with(bench, &own.signed_with(&key)).await?;
    bench.step("Sign it with the same key, under the name of the provider's.");
    let second = delete_with(bench, &parts.signed_with(&key)).await?;
    let which = match (first.status, second.status) {
        (200 | 404, 200 | 404) => Some(0),
        (401, 401) => Some(1),
        (401, 200 | 404) => Some(2),
        _ => None,
    };
    let what = format!(
        "The calendar answered {}; and then {}",
        first.words(),
        second.words()
    );
    Ok(Finding::new(which, what))
}

async fn token_that_may_read(bench: &mut Workbench) -> Result<Token, Failure> {
    let assistant = bench.assistant()?;
    bench.step("Get a token for the calendar that may only read.");
    let token = bench
        .token(&assistant, "calendar-service", "calendar.read")
        .await?;
    bench.step("The calendar accepts it as it is.");
    let events = at(&bench.servers().calendar, "event")?;
    bench.call_well(events, &token).await?;
    Ok(token)
}

/// Says what the scope was.
fn wish_for_more(parts: &mut Parts) -> String {
    let before = parts
        .claims
        .insert("scope".to_owned(), json!("calendar.write"));
    if parts.claims.contains_key("scp") {
        parts
            .claims
            .insert("scp".to_owned(), json!(["calendar.write"]));
    }
    let text = before.as_ref().and_then(Value::as_str);
    text.unwrap_or("nothing").to_owned()
}

/// Deletes an event that does not exist: what a token with calendar.write may do, and no harm.
async fn delete_with(bench: &mut Workbench, forged: &Token) -> Result<Answer, Failure> {
    let event = at(&bench.servers().calendar, "event/9999999999999999")?;
    bench.call("assistant", Method::DELETE, event, forged).await
}

fn finding(answer: &Answer) -> Finding {
    let which = match answer.status {
        200 | 204 | 404 => Some(0),
        401 => Some(1),
        403 => Some(2),
        _ => None,
    };
    Finding::new(which, format!("The calendar answered {}", answer.words()))
}
