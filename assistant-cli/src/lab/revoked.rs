//! Tokens that were taken back before their end, under the three ways in which a service may hear of
//! it. Each experiment fetches a token of its own and revokes no other.

use std::time::Duration;

use m2m::{
    Revocation, Verifier,
    verify::{Introspection, VerifierBuilder},
};
use reqwest::Method;

use super::{
    Experiment, Finding,
    workbench::{Token, Workbench, at},
};
use crate::{
    credentials::Credentials,
    failure::{Failure, Kind},
};

pub(super) const LOCAL: Experiment = Experiment {
    name: "revoked-local",
    title: "A revoked token, and a service that verifies by itself alone",
    question: "A service may verify tokens with the provider's public keys and ask nobody else \
               (`--revocation none`). The assistant's token is revoked at the provider. When does such a \
               service refuse it? (The demo's services run in a better mode; so a verifier of this kind \
               runs in this process.)",
    answers: &["at once", "within ten seconds", "not before it expires"],
    right: 2,
    explanation: "That is the price of asking nobody: whatever happens after the signature was made, the \
                  signature stays good. The provider knows that the token is dead and says so to whoever \
                  asks (`active: false`), but this verifier does not ask. It is the fastest way, it works \
                  while the provider is down, and it is right where tokens live for minutes. Where an \
                  hour is too long, the service has to hear of revocations: see revoked-feed and \
                  revoked-introspection.",
    sources: &["RFC 7009 section 3"],
    otherwise: "The verifier refused a token whose signature and dates are good: then it did hear of the \
                revocation, or the provider withdrew the key.",
    run: |bench| Box::pin(local(bench)),
};

async fn local(bench: &mut Workbench) -> Result<Finding, Failure> {
    let (assistant, token) = own_token(bench).await?;
    bench.step("A verifier that asks nobody fetches the provider's keys, and accepts the token.");
    let verifier = build(verifier(bench).revocation(Revocation::None))?;
    accepted_at_first(bench, &verifier, &token).await?;
    take_back(bench, &assistant, &token).await?;
    bench.step("The provider knows it…");
    let active = bench.introspect(&assistant, &token).await?;
    bench.step("…and the verifier does not.");
    let verdict = bench.verify(&verifier, &token).await?;
    let said = match &verdict {
        Ok(_) => "accepted".to_owned(),
        Err(e) => format!("refused, {e}"),
    };
    bench.remark(format!("the verifier in this process: {said}"));
    Ok(match verdict {
        Ok(_) if !active => Finding::new(
            Some(2),
            "The provider says `active: false`, and the verifier still accepts the token",
        ),
        Ok(_) => Finding::new(None, "The provider says that the revoked token is active"),
        Err(e) => Finding::new(Some(0), format!("The verifier refused it: {e}")),
    })
}

pub(super) const FEED: Experiment = Experiment {
    name: "revoked-feed",
    title: "A revoked token, and a service that the provider tells of it",
    question: "The calendar verifies by itself as well, but it also listens to the provider's feed of \
               revocations (`--revocation feed`, as the demo runs it). The assistant revokes its token and \
               shows it again and again. When does the calendar refuse it?",
    answers: &[
        "in a fraction of a second",
        "when it next asks the provider, some seconds later",
        "not before it expires",
    ],
    right: 0,
    explanation: "The provider sends each revocation to all who listen, over a connection that stays \
                  open; the service keeps the few that are not yet expired in memory, and looks there \
                  after it has checked the signature. So a request costs a lookup and no question. While \
                  the feed is silent the service goes on with what it knows, and after 30 s does what it \
                  was told for that case: accept, refuse, or ask about each token.",
    sources: &["RFC 7009 section 2", "docs/how-to/introspection.md"],
    otherwise: "The calendar did not hear of it in time. Was it started with `--revocation none` or \
                `introspection`, or without its own credentials in clients.json? Without them it cannot \
                listen, and a revoked token is good until it expires.",
    run: |bench| Box::pin(feed(bench)),
};

/// The feed needs a fraction of a second; what comes later came otherwise.
const SOON: Duration = Duration::from_secs(2);

async fn feed(bench: &mut Workbench) -> Result<Finding, Failure> {
    let (assistant, token) = own_token(bench).await?;
    bench.step("The calendar accepts it.");
    let events = at(&bench.servers().calendar, "event")?;
    bench.call_well(events.clone(), &token).await?;
    take_back(bench, &assistant, &token).await?;
    bench.step("Show it to the calendar until it is refused, for 12 s at most.");
    let patience = Duration::from_secs(12);
    Ok(
        match bench
            .until_refused("assistant", &events, &token, patience)
            .await?
        {
            Some(after) if after <= SOON => {
                let after = after.as_millis();
                Finding::new(
                    Some(0),
                    format!("It was refused {after} ms after the revocation"),
                )
            }
            Some(after) => Finding::new(
                Some(1),
                format!("It was refused {} s after the revocation", after.as_secs()),
            ),
            None => Finding::new(Some(2), "After 12 s the calendar still accepted it"),
        },
    )
}

pub(super) const INTROSPECTION: Experiment = Experiment {
    name: "revoked-introspection",
    title: "A revoked token, and a service that asks the provider about each",
    question: "A service may ask the provider about each token instead of checking the signature itself \
               (introspection). To ask less, it remembers each answer for some seconds. It has just \
               accepted a token, and then the token is revoked. When does it refuse it?",
    answers: &[
        "at the next request",
        "when it no longer remembers the answer, and asks again",
        "not before it expires",
    ],
    right: 1,
    explanation: "Who asks hears of a revocation with the next answer, and of nothing while it still \
                  believes the last one: the memory is the delay. Without a memory it would be at once, \
                  and each request would cost a question, which fails when the provider is down. \
                  Introspection is the one way for opaque tokens, and works with any server of RFC 7662.",
    sources: &[
        "RFC 7662 sections 2.2 and 4",
        "docs/how-to/introspection.md",
    ],
    otherwise: "Either it remembers no answers (refused at once: safe, and a question for each request), or \
                it does not ask at all, and a revoked token is good until it expires.",
    run: |bench| Box::pin(introspection(bench)),
};

async fn introspection(bench: &mut Workbench) -> Result<Finding, Failure> {
    match files_token(bench).await? {
        Some((job, token)) => introspection_of_the_files(bench, &job, &token).await,
        None => introspection_here(bench).await,
    }
}

/// With the resource-server, if one runs and takes tokens of this provider.
async fn files_token(bench: &mut Workbench) -> Result<Option<(Credentials, Token)>, Failure> {
    bench.step("Look whether a service that asks, resource-server, is running.");
    let url = at(&bench.servers().files, "protected")?;
    let nothing = Token::new("none");
    let there = bench
        .call("report-job", Method::GET, url.clone(), &nothing)
        .await;
    if there.is_err() {
        bench.remark(
            "It is not, so a verifier that asks runs in this process, in the calendar's name.",
        );
        return Ok(None);
    }
    let Ok(job) = bench.client("report-job") else {
        bench.remark("It is, but clients.json has no client that may call it; so a verifier that asks runs in this process.");
        return Ok(None);
    };
    bench.step("Get a token for it, and show it.");
    let token = bench.token(&job, "resource-server", "read").await?;
    let answer = bench.call("report-job", Method::GET, url, &token).await?;
    if answer.is_success() {
        return Ok(Some((job, token)));
    }
    bench.remark(
        "It does not take tokens of this provider, so a verifier that asks runs in this process.",
    );
    Ok(None)
}

async fn introspection_of_the_files(
    bench: &mut Workbench,
    job: &Credentials,
    token: &Token,
) -> Result<Finding, Failure> {
    let url = at(&bench.servers().files, "protected")?;
    take_back(bench, job, token).await?;
    bench.step("Show it again until it is refused, for 32 s at most: no answer is remembered longer than 30.");
    let patience = Duration::from_secs(32);
    let refused = bench
        .until_refused("report-job", &url, token, patience)
        .await?;
    Ok(delay(refused, patience))
}

/// How long the verifier in this process remembers an answer; a service does it for 10 s.
const REMEMBERED: Duration = Duration::from_secs(1);

async fn introspection_here(bench: &mut Workbench) -> Result<Finding, Failure> {
    let calendar = bench.client("calendar-service")?;
    let (assistant, token) = own_token(bench).await?;
    bench.step("A verifier that asks, and remembers answers for 1 s, accepts it.");
    let asking = verifier(bench)
        .client(calendar.client_id, calendar.client_secret)
        .revocation(Revocation::Introspection(Introspection {
            cache_for: REMEMBERED,
            ..Introspection::default()
        }));
    let verifier = build(asking)?;
    accepted_at_first(bench, &verifier, &token).await?;
    take_back(bench, &assistant, &token).await?;
    bench.step("Have it judge the token again and again until it is refused.");
    let patience = Duration::from_secs(5);
    let refused = bench
        .until_verifier_refuses(&verifier, &token, patience)
        .await?;
    Ok(delay(refused, patience))
}

fn delay(refused: Option<Duration>, patience: Duration) -> Finding {
    match refused {
        Some(after) if after < Duration::from_millis(100) => {
            Finding::new(Some(0), "It was refused at the next request")
        }
        Some(after) => {
            let tenths = after.as_millis() / 100;
            let seconds = format!("{}.{} s", tenths / 10, tenths % 10);
            Finding::new(
                Some(1),
                format!(
                    "It was refused {seconds} after the revocation, when it was asked about again"
                ),
            )
        }
        None => Finding::new(
            Some(2),
            format!("After {} s it was still accepted", patience.as_secs()),
        ),
    }
}

async fn own_token(bench: &mut Workbench) -> Result<(Credentials, Token), Failure> {
    let assistant = bench.assistant()?;
    bench.step("Get a token for the calendar, for this experiment alone.");
    let token = bench
        .token(&assistant, "calendar-service", "calendar.read")
        .await?;
    Ok((assistant, token))
}

async fn take_back(
    bench: &mut Workbench,
    client: &Credentials,
    token: &Token,
) -> Result<(), Failure> {
    bench.step("Revoke the token.");
    bench.revoke(client, token).await
}

fn verifier(bench: &Workbench) -> VerifierBuilder {
    Verifier::builder(bench.servers().issuer.clone())
        .audience("calendar-service")
        .clock(bench.clock().clone())
}

fn build(builder: VerifierBuilder) -> Result<Verifier, Failure> {
    builder
        .build()
        .map_err(|e| Failure::new(Kind::Usage, e.to_string()))
}

async fn accepted_at_first(
    bench: &mut Workbench,
    verifier: &Verifier,
    token: &Token,
) -> Result<(), Failure> {
    match bench.verify(verifier, token).await? {
        Ok(_) => {
            bench.remark("the verifier in this process: accepted");
            Ok(())
        }
        Err(e) => Err(Failure::new(
            Kind::Refused,
            format!("the verifier in this process does not even take a good token: {e}"),
        )),
    }
}
