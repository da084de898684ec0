//! Tokens that are good, and not meant for this: another service, another scope, another time.

use std::time::Duration;

use m2m::{ManualClock, TokenError, Verifier};
use reqwest::Method;

use super::{
    Experiment, Finding,
    workbench::{Workbench, at},
};
use crate::{
    failure::{Failure, Kind},
    token_view::TokenView,
};

pub(super) const WRONG_AUDIENCE: Experiment = Experiment {
    name: "wrong-audience",
    title: "A token for the notes, shown to the calendar",
    question: "The assistant has a good token for the notes. It shows the same token to the \
               calendar. What does the calendar say?",
    answers: &[
        "200: the signature is good, so it answers",
        "401: the token is good, but for somebody else",
        "403: the token is accepted, but lacks the scope calendar.read",
    ],
    right: 1,
    explanation: "A token names in `aud` the one service that it is for, and a service accepts only \
                  tokens with its own name there, however good the signature is. Otherwise each \
                  service that is called with a token could go on with it to all the others, in the \
                  caller's name. The answer is 401 and not 403: for this service it is no valid token \
                  at all, so its scopes are not even looked at.",
    sources: &[
        "RFC 9068 section 4",
        "RFC 7519 section 4.1.3",
        "RFC 9700 sections 2.3 and 4.10.2",
    ],
    otherwise: "The attack succeeded: the calendar took a token that was meant for the notes for one of \
                its own. After 200 the attacker has read the events; after 403 only the name of a scope \
                stood in the way. Does this service check `aud`?",
    run: |bench| Box::pin(wrong_audience(bench)),
};

async fn wrong_audience(bench: &mut Workbench) -> Result<Finding, Failure> {
    let assistant = bench.assistant()?;
    bench.step("Get a token for the notes.");
    let token = bench.token(&assistant, "note-service", "note.read").await?;
    bench.step("The notes accept it.");
    let notes = at(&bench.servers().note, "note")?;
    bench.call_well(notes, &token).await?;
    bench.step("The calendar gets the same token.");
    let events = at(&bench.servers().calendar, "event")?;
    let answer = bench.call("assistant", Method::GET, events, &token).await?;
    let which = match answer.status {
        200 => Some(0),
        401 => Some(1),
        403 => Some(2),
        _ => None,
    };
    let what = format!("The calendar answered {}", answer.words());
    Ok(Finding::new(which, what))
}

pub(super) const MISSING_SCOPE: Experiment = Experiment {
    name: "missing-scope",
    title: "A token that may only read, used to delete",
    question: "The assistant asks for a token with calendar.read and nothing else. With it, it tells the \
               calendar to delete an event (one that does not exist, to be on the safe side). What does \
               the calendar say?",
    answers: &[
        "200: it is the right client, and it has a token for the calendar",
        "401: the token is not valid",
        "403: the token is valid, but does not allow this",
    ],
    right: 2,
    explanation: "The audience says where a token may be used, the scope what for. A client asks for as \
                  little as the next call needs, so that a token that leaks is worth little. The service \
                  checks the scope of each operation before it looks at anything else: 403 with \
                  insufficient_scope, and the header WWW-Authenticate names the scope that would do. It \
                  is not 401: another token of the same kind would not help.",
    sources: &["RFC 6750 section 3.1", "RFC 9700 section 2.3"],
    otherwise: "With 200 the attack succeeded: a token that may only read has deleted. Does the handler \
                name the scope that it needs?",
    run: |bench| Box::pin(missing_scope(bench)),
};

/// No event has this number: the calendar counts from 1 and keeps ten thousand.
const NO_EVENT: &str = "event/9999999999999999";

async fn missing_scope(bench: &mut Workbench) -> Result<Finding, Failure> {
    let assistant = bench.assistant()?;
    bench.step("Get a token for the calendar that may only read.");
    let token = bench
        .token(&assistant, "calendar-service", "calendar.read")
        .await?;
    bench.step("Reading works.");
    let events = at(&bench.servers().calendar, "event")?;
    bench.call_well(events, &token).await?;
    bench.step("Delete with the same token.");
    let event = at(&bench.servers().calendar, NO_EVENT)?;
    let answer = bench
        .call("assistant", Method::DELETE, event, &token)
        .await?;
    let which = match answer.status {
        200 | 204 | 404 => Some(0),
        401 => Some(1),
        403 => Some(2),
        _ => None,
    };
    let what = format!("The calendar answered {}", answer.words());
    Ok(Finding::new(which, what))
}

pub(super) const EXPIRED_TOKEN: Experiment = Experiment {
    name: "expired-token",
    title: "A token at the end of its life",
    question: "A token ends at the moment in `exp`. Nobody wants to wait for an hour, so the calendar's \
               verifier, the library m2m, also runs in this process, with a clock that can be moved: to a \
               second before the end, to 5 s and to 11 s after it. When is the token refused?",
    answers: &[
        "from the very second in `exp`",
        "a few seconds after it: clocks differ",
        "never: the signature is still good",
    ],
    right: 1,
    explanation: "`exp` is the end, but the service's clock is not the provider's. A verifier may grant \
                  some leeway, so that a clock that is a little fast does not refuse good tokens: here \
                  10 s, and no configuration allows more than a minute. After that, no signature helps. \
                  The short life is what makes tokens bearable that cannot be taken back; a client \
                  does not wait for the refusal but fetches the next token ahead of the end.",
    sources: &["RFC 7519 section 4.1.4", "RFC 9068 section 4"],
    otherwise: "A verifier that does not mind the end of a token makes each leaked one good for ever; one \
                without leeway refuses good tokens when two clocks differ.",
    run: |bench| Box::pin(expired_token(bench)),
};

async fn expired_token(bench: &mut Workbench) -> Result<Finding, Failure> {
    let assistant = bench.assistant()?;
    bench.step("Get a token for the calendar.");
    let token = bench
        .token(&assistant, "calendar-service", "calendar.read")
        .await?;
    bench.step("The calendar accepts it now.");
    let events = at(&bench.servers().calendar, "event")?;
    bench.call_well(events, &token).await?;
    bench.step("A verifier in this process, whose clock is moved, judges the same token.");
    let view = TokenView::decode(token.expose());
    let Some(exp) = view.and_then(|view| view.claims.get("exp")?.as_u64()) else {
        return Err(Failure::new(Kind::Failed, "the token says no `exp`"));
    };
    let hand = ManualClock::at(bench.clock().now());
    let verifier = Verifier::builder(bench.servers().issuer.clone())
        .audience("calendar-service")
        .clock(hand.clock())
        .build()
        .map_err(|e| Failure::new(Kind::Usage, e.to_string()))?;
    let mut verdicts = Vec::new();
    let mut reason = String::new();
    for (moment, when) in [
        (exp.saturating_sub(1), "1 s before its end"),
        (exp + 5, "5 s after its end"),
        (exp + 11, "11 s after its end"),
    ] {
        let now = hand.clock().now();
        hand.advance(Duration::from_secs(moment.saturating_sub(now)));
        let verdict = bench.verify(&verifier, &token).await?;
        bench.remark(match &verdict {
            Ok(_) => format!("{when}: accepted"),
            Err(e) => format!("{when}: refused, {e}"),
        });
        if let Err(TokenError::Invalid(why)) = verdict {
            why.clone_into(&mut reason);
        }
        verdicts.push(verdict.is_ok());
    }
    Ok(match verdicts.as_slice() {
        [true, false, false] => Finding::new(Some(0), format!("It was refused at once: {reason}")),
        [true, true, false] => Finding::new(
            Some(1),
            format!("5 s after its end it was accepted, 11 s after it refused: {reason}"),
        ),
        [true, true, true] => Finding::new(Some(2), "It was accepted all the time"),
        _ => Finding::new(None, format!("It was refused before its end: {reason}")),
    })
}
