//! A line to the Vault server that breaks at any point of a step: whatever is lost on it, the step has happened entirely or not at
//! all, its events with it, once. The same line counts what each step costs.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use m2m::http_client;
use reqwest::{Client, Method};
use token_vault::{
    audit::{Action, Event, Filter},
    connection::ConnectionKey,
    envelope::Envelope,
    kek::KekId,
    storage::{Claim, Due, HashicorpStore, Seen, Settlement, StoreError, Times, VaultStore},
};

use crate::{
    openbao::{Openbao, fresh_openbao},
    support::{NOW_MS, key},
};

/// What happens to the request of this number, counted from 0.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    /// It is carried out, and its answer gets lost.
    LoseAnswer(usize),
    /// Neither it nor any later one arrives.
    CutBefore(usize),
    /// It is carried out, and its answer and all later requests get lost.
    CutAfter(usize),
}

struct Line {
    http: Client,
    to: String,
    fault: Mutex<Fault>,
    requests: AtomicUsize,
}

impl Line {
    fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
        self.requests.store(0, Ordering::SeqCst);
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn forward(request: HttpRequest, body: web::Bytes, line: web::Data<Line>) -> HttpResponse {
    let number = line.requests.fetch_add(1, Ordering::SeqCst);
    let fault = *line.fault.lock().unwrap();
    let lost = || HttpResponse::InternalServerError().finish();
    if matches!(fault, Fault::CutBefore(from) if number >= from)
        || matches!(fault, Fault::CutAfter(from) if number > from)
    {
        return lost();
    }
    let method = Method::from_bytes(request.method().as_str().as_bytes()).unwrap();
    let mut forwarded = line
        .http
        .request(method, format!("{}{}", line.to, request.uri()));
    for name in ["X-Vault-Token", "Content-Type"] {
        if let Some(value) = request.headers().get(name) {
            forwarded = forwarded.header(name, value.as_bytes());
        }
    }
    let answer = forwarded.body(body.to_vec()).send().await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.bytes().await.unwrap();
    if matches!(fault, Fault::LoseAnswer(at) | Fault::CutAfter(at) if number == at) {
        return lost();
    }
    HttpResponse::build(actix_web::http::StatusCode::from_u16(status).unwrap()).body(body)
}

/// A store at the end of such a line.
async fn line_to(openbao: &Openbao) -> (HashicorpStore, web::Data<Line>) {
    let line = web::Data::new(Line {
        http: http_client(Duration::from_secs(10)),
        to: openbao.variables[0].1.clone(),
        fault: Mutex::new(Fault::None),
        requests: AtomicUsize::new(0),
    });
    let state = web::Data::clone(&line);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::clone(&state))
            .default_service(web::to(forward))
    });
    let server = server.workers(1).bind(("127.0.0.1", 0)).unwrap();
    let mut far = openbao.clone();
    far.variables[0].1 = format!("http://{}", server.addrs()[0]);
    actix_web::rt::spawn(server.run());
    (far.store().await, line)
}

fn envelope(text: &str) -> Envelope {
    Envelope {
        kek: KekId::new("kek"),
        data_key: text.into(),
        sealed: text.into(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Put,
    Claim,
    Settle,
    Break,
    Remove,
}

impl Step {
    /// What tells of it.
    fn action(self) -> Action {
        match self {
            Self::Put => Action::Stored,
            Self::Claim => Action::RetriedAfterCrash,
            Self::Settle => Action::Refreshed,
            Self::Break => Action::NeedsReconnect,
            Self::Remove => Action::Forgotten,
        }
    }

    /// Does it to a row of version 1 and fence 0. Whether it was done.
    async fn take(self, store: &HashicorpStore, key: &ConnectionKey) -> Result<bool, StoreError> {
        let event = &Event::own(self.action(), NOW_MS, key);
        let (seen, new) = (
            Seen {
                version: 1,
                fence: 0,
            },
            envelope("new"),
        );
        let times = Times::default();
        match self {
            Self::Put => store.put(key, &new, times, 2, event).await.map(|()| true),
            Self::Claim => {
                let claim = Claim {
                    key,
                    version: 1,
                    fence: 0,
                    now: NOW_MS,
                    until: NOW_MS + 100,
                    spending: "fingerprint",
                    doubt: None,
                };
                let fence = store.claim(&claim, std::slice::from_ref(event)).await?;
                Ok(fence == Some(1))
            }
            Self::Settle | Self::Break => {
                let settlement = match self {
                    Self::Settle => Settlement::Refreshed {
                        envelope: new,
                        times,
                    },
                    _ => Settlement::Broken(token_vault::connection::Broken::Refused),
                };
                store.settle(key, seen, &settlement, 2, event).await
            }
            Self::Remove => store.remove(key, 1, event).await,
        }
    }

    async fn is_taken(self, store: &HashicorpStore, key: &ConnectionKey) -> bool {
        let row = store.connection(key).await.unwrap();
        match self {
            Self::Remove => row.is_none(),
            Self::Claim => row.unwrap().fence == 1,
            Self::Put | Self::Settle => row.unwrap().envelope == envelope("new"),
            Self::Break => row.unwrap().broken.is_some(),
        }
    }
}

/// All of the log, read once: each reading of it costs as much as it is long.
async fn all_events(store: &HashicorpStore) -> Vec<Event> {
    let events = store.events(&Filter::default(), u64::MAX, 10_000).await;
    let events = events.unwrap().into_iter();
    events.map(|recorded| recorded.event).collect()
}

fn told(events: &[Event], key: &ConnectionKey, action: Action) -> usize {
    let is_told = |event: &&Event| event.key == *key && event.action == action;
    events.iter().filter(is_told).count()
}

async fn walk(store: &HashicorpStore, key: &ConnectionKey) {
    let wish = Due {
        service: &key.service,
        now: NOW_MS,
        refresh_from: NOW_MS,
        used_since: 0,
        limit: 1,
    };
    store.due(wish).await.unwrap();
}

#[actix_web::test]
async fn a_step_happens_entirely_or_not_at_all_wherever_the_line_breaks() {
    let Some(openbao) = fresh_openbao().await else {
        return;
    };
    let (far, line) = line_to(&openbao).await;
    let near = openbao.store().await;
    let steps = [
        Step::Put,
        Step::Claim,
        Step::Settle,
        Step::Break,
        Step::Remove,
    ];
    let mut cases = Vec::new();
    for step in steps {
        let faults = (0..6).flat_map(|at| {
            [
                Fault::LoseAnswer(at),
                Fault::CutBefore(at),
                Fault::CutAfter(at),
            ]
        });
        for fault in faults {
            let key = key(&format!("{step:?}{fault:?}"), "acme");
            let event = Event::own(Action::Superseded, NOW_MS, &key);
            let old = envelope("old");
            near.put(&key, &old, Times::default(), 1, &event)
                .await
                .unwrap();
            if cases.is_empty() {
                far.put(&key, &old, Times::default(), 1, &event)
                    .await
                    .unwrap(); // the key is on its list
            }
            line.set(fault);
            let outcome = step.take(&far, &key).await;
            line.set(Fault::None);
            cases.push((step, fault, key, outcome));
        }
    }
    // Whoever comes next finishes what was begun.
    let next = openbao.store().await;
    walk(&next, &cases[0].2).await;
    let events = all_events(&next).await;
    let (mut done, mut undone) = (0, 0);
    for (step, fault, key, outcome) in cases {
        let taken = step.is_taken(&next, &key).await;
        assert_eq!(
            told(&events, &key, step.action()),
            usize::from(taken),
            "{step:?} {fault:?}: {outcome:?}"
        );
        match outcome {
            Ok(told) => assert!(told && taken, "{step:?} {fault:?}"),
            Err(_) if taken => done += 1,
            Err(_) => undone += 1,
        }
    }
    assert!(done > 0 && undone > 0, "both kinds of errors were there");
}

#[actix_web::test]
async fn events_whose_writing_is_tried_again_are_told_once() {
    let Some(openbao) = fresh_openbao().await else {
        return;
    };
    let (far, line) = line_to(&openbao).await;
    let mut keys = Vec::new();
    for at in 0..5 {
        for fault in [
            Fault::LoseAnswer(at),
            Fault::CutBefore(at),
            Fault::CutAfter(at),
        ] {
            let key = key(&format!("{fault:?}"), "acme");
            // More than fit into one batch.
            let long = "x".repeat(100_000);
            let events =
                [1, 2, 3, 4].map(|at| Event::own(Action::Released, at, &key).because(&long));
            line.set(fault);
            while far.add_events(&events, &[]).await.is_err() {
                line.set(Fault::None);
            }
            line.set(Fault::None);
            keys.push(key);
        }
    }
    let events = all_events(&far).await;
    for key in &keys {
        assert_eq!(told(&events, key, Action::Released), 4, "{key:?}");
    }
}

/// As `GUIDE.md` has it.
#[actix_web::test]
async fn a_step_costs_what_the_guide_says() {
    let Some(openbao) = fresh_openbao().await else {
        return;
    };
    let (far, line) = line_to(&openbao).await;
    let store: Arc<dyn VaultStore> = Arc::new(far);
    let (first, alice) = (key("first", "acme"), key("alice", "acme"));
    let event = |action, key: &ConnectionKey| Event::own(action, NOW_MS, key);
    let stored = event(Action::Stored, &first);
    store
        .put(&first, &envelope("1"), Times::default(), 1, &stored)
        .await
        .unwrap();

    let cost = |expected: usize, what: &str| {
        assert_eq!(line.requests(), expected, "{what}");
        line.set(Fault::None);
    };
    line.set(Fault::None);
    let stored = event(Action::Stored, &alice);
    for expected in [6, 5] {
        store
            .put(&alice, &envelope("1"), Times::default(), 1, &stored)
            .await
            .unwrap();
        cost(expected, "to store");
    }
    store.connection(&alice).await.unwrap();
    cost(1, "to read");
    let claim = Claim {
        key: &alice,
        version: 1,
        fence: 0,
        now: NOW_MS,
        until: NOW_MS + 100,
        spending: "fingerprint",
        doubt: None,
    };
    store.claim(&claim, &[]).await.unwrap();
    let settlement = Settlement::Refreshed {
        envelope: envelope("2"),
        times: Times::default(),
    };
    let refreshed = event(Action::Refreshed, &alice);
    let seen = Seen {
        version: 1,
        fence: 1,
    };
    store
        .settle(&alice, seen, &settlement, 2, &refreshed)
        .await
        .unwrap();
    cost(8 - 1, "to refresh, beside the first look");
    let released = event(Action::Released, &alice);
    store
        .add_events(std::slice::from_ref(&released), &[&released])
        .await
        .unwrap();
    cost(2 + 2, "to tell of a use");
    store.remember(b"id", 100, 200).await.unwrap();
    cost(2, "a signed request");
    let forgotten = event(Action::Forgotten, &alice);
    assert!(store.remove(&alice, 2, &forgotten).await.unwrap());
    cost(6 - 1, "to remove, beside the first look");
}
