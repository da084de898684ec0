//! Who may call whom: each caller gets what its grants allow, and nothing of anybody else's.

use assistant_cli::{
    api::{Access, Need, Service},
    failure::Kind,
    records::{EventFields, NoteFields},
};
use m2m::{Clock, FetchError, Verifier};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{CALENDAR, NOTES, Provider, READER, calendar, notes, refusal, status};

#[tokio::test]
async fn the_assistant_does_its_work_with_a_token_per_service_and_scope() {
    let provider = Provider::start().await;
    let calendar = calendar(&provider.issuer, &Clock::System);
    let assistant = provider.assistant(&calendar, &notes(&provider.issuer));

    let event = EventFields {
        title: Some("Lunch".to_owned()),
        start: Some(1_000),
        end: Some(2_000),
        ..EventFields::default()
    };
    let lunch = assistant.add_event(&event).await.unwrap();
    let later = EventFields {
        end: Some(3_000),
        ..EventFields::default()
    };
    let lunch = assistant.update_event(lunch.id, &later).await.unwrap();
    assert_eq!((lunch.title.as_str(), lunch.end), ("Lunch", 3_000));
    assert!(assistant.events().await.unwrap().contains(&lunch));

    let note = NoteFields {
        title: Some("Shopping".to_owned()),
        description: Some("Bread".to_owned()),
    };
    let shopping = assistant.add_note(&note).await.unwrap();
    let more = NoteFields {
        title: None,
        description: Some("Bread, salt".to_owned()),
    };
    let shopping = assistant.update_note(shopping.id, &more).await.unwrap();
    assert_eq!(shopping.title, "Shopping");
    assert!(assistant.notes().await.unwrap().contains(&shopping));

    for (service, id) in [(Service::Calendar, lunch.id), (Service::Note, shopping.id)] {
        assistant.delete(service, id).await.unwrap();
        let again = assistant.delete(service, id).await.unwrap_err();
        assert_eq!(again.kind, Kind::NotFound);
        for access in [Access::Read, Access::Write] {
            let need = Need { service, access };
            let token = assistant.token_held(need).unwrap();
            assert_eq!(token.resource(), service.name());
            assert_eq!(token.scopes().to_string(), need.scope());
        }
    }
}

#[tokio::test]
async fn a_token_opens_one_service_and_does_there_what_its_scope_says() {
    let provider = Provider::start().await;
    let tokens = provider.tokens("assistant");
    let events = calendar(&provider.issuer, &Clock::System) + "/event";

    let token = tokens.token(&["note.read"], NOTES).await.unwrap();
    let answer = refusal(provider.http.get(&events).bearer_auth(token.expose())).await;
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.challenge,
        "Bearer realm=\"calendar-service\", error=\"invalid_token\", \
         error_description=\"the token is for another audience: get one whose resource is this service, \
         which WWW-Authenticate names as the realm\""
    );
    assert_eq!(answer.body["error"], "invalid_token");

    let token = tokens.token(&["calendar.read"], CALENDAR).await.unwrap();
    let read = provider.http.get(&events).bearer_auth(token.expose());
    assert_eq!(status(read).await, 200);
    let event = json!({"title": "Lunch", "start": 1, "end": 2});
    let write = provider.http.post(&events).json(&event);
    let answer = refusal(write.bearer_auth(token.expose())).await;
    assert_eq!(answer.status, 403);
    assert!(
        answer.challenge.contains("error=\"insufficient_scope\"")
            && answer.challenge.contains("scope=\"calendar.write\""),
        "{}",
        answer.challenge
    );
    assert_eq!(answer.body["error"], "insufficient_scope");
}

#[tokio::test]
async fn a_new_grant_counts_after_a_restart_and_the_client_changes_nothing() {
    let mut provider = Provider::start_with(READER, Clock::System).await;
    let shopping = notes(&provider.issuer) + "/note";
    let reader = provider.tokens("reader");
    let http = provider.http.clone();
    let list = || reader.send(http.get(&shopping), &["note.read"], NOTES);

    match reader.token(&["note.read"], NOTES).await.unwrap_err() {
        FetchError::Refused {
            error, description, ..
        } => {
            assert_eq!(error, "invalid_target");
            let description = description.unwrap();
            assert!(
                description.contains("it may call calendar-service"),
                "{description}"
            );
        }
        other => panic!("{other}"),
    }
    list().await.unwrap_err();

    provider.add_to_policy(
        r#"
        [[grants]]
        client = "reader"
        resource = "note-service"
        scopes = ["note.read"]
        "#,
    );
    provider.down().await;
    provider.up().await;
    assert_eq!(list().await.unwrap().status(), 200);
    let more = reader.token(&["note.write"], NOTES).await.unwrap_err();
    assert!(more.to_string().contains("invalid_scope"), "{more}");
}

#[tokio::test]
async fn in_a_crowd_everybody_gets_their_own_token_and_a_wrong_secret_gets_none() {
    let provider = Provider::start_with(READER, Clock::System).await;
    let verifier = Verifier::builder(&provider.issuer).audience(CALENDAR);
    let verifier = verifier.build().unwrap();
    let (assistants, readers) = (&provider.secret("assistant"), &provider.secret("reader"));
    let callers = [
        ("assistant", assistants, true),
        ("reader", readers, true),
        ("assistant", readers, false),
        ("reader", assistants, false),
        ("assistant", &format!("{assistants}x"), false),
        ("nobody", assistants, false),
        ("reader", readers, true),
        ("assistant", assistants, true),
    ];

    let mut crowd = JoinSet::new();
    for (client, secret, right) in callers.iter().cycle().take(64) {
        let request = provider.ask(client, secret, CALENDAR);
        let (client, right, verifier) = (*client, *right, verifier.clone());
        crowd.spawn(async move {
            for request in [request.try_clone().unwrap(), request] {
                let response = request.send().await.unwrap();
                let status = response.status();
                let body: Value = response.json().await.unwrap();
                if right {
                    assert_eq!(status, 200, "{client}: {body}");
                    let token = body["access_token"].as_str().unwrap();
                    let token = verifier.verify(token).await.unwrap();
                    assert_eq!(token.subject(), client);
                    assert_eq!(token.client_id(), Some(client));
                } else {
                    assert_eq!(status, 401, "{client}");
                    assert_eq!(body["error"], "invalid_client");
                    assert!(body.get("access_token").is_none());
                }
            }
        });
    }
    assert_eq!(crowd.join_all().await.len(), 64);
}
