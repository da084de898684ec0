//! The assistant's experiments with the real programs: each ends as its explanation says, or the lab
//! notices; and none leaves anything behind.

use assistant_cli::{
    api::Servers,
    credentials::Places,
    failure::{Failure, Kind},
    lab::{self, Note, Report, Setting, Stop, Workbench},
};
use m2m::Clock;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::support::{Provider, calendar_with, notes_with, until_ready};

struct World {
    provider: Provider,
    setting: Setting,
}

impl World {
    /// A provider, and both services as the demo has them; `more` for the calendar's command line.
    async fn start(more: &[&str]) -> Self {
        let provider = Provider::start().await;
        let file = provider.clients_file().display().to_string();
        let listening = ["--clients-file", &file];
        let calendar = calendar_with(
            &provider.issuer,
            &Clock::System,
            &[&listening[..], more].concat(),
        );
        let note = notes_with(&provider.issuer, &listening);
        for service in [&calendar, &note] {
            until_ready(&provider.http, service).await;
        }
        let servers = Servers {
            issuer: provider.issuer.clone(),
            calendar: calendar.parse().unwrap(),
            note: note.parse().unwrap(),
            // Nobody listens there.
            files: "http://127.0.0.1:1".parse().unwrap(),
        };
        let places = Places {
            client_id: None,
            client_secret: None,
            file: Some(provider.clients_file()),
            folder: provider.clients_file(),
        };
        Self {
            setting: Setting {
                servers,
                places,
                clock: Clock::System,
            },
            provider,
        }
    }

    async fn run(&self, name: &str) -> Report {
        let bench = Workbench::new(self.setting.clone(), Stop::default(), None);
        let experiment = lab::find(name).unwrap();
        lab::run(experiment, bench).await.unwrap()
    }

    async fn policy(&self) -> String {
        let admin = self.provider.tokens("admin");
        let url = self.provider.url("/admin/v1/policy");
        let request = self.provider.http.get(url);
        let answer = admin.send(request, &[], "auth-provider").await.unwrap();
        answer.text().await.unwrap()
    }

    async fn has_clients_of_the_lab(&self) -> bool {
        let admin = self.provider.tokens("admin");
        let url = self.provider.url("/admin/v1/clients?prefix=lab-");
        let request = self.provider.http.get(url);
        let answer = admin.send(request, &[], "auth-provider").await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        !answer["clients"].as_array().unwrap().is_empty()
    }
}

#[actix_web::test]
async fn each_experiment_ends_as_its_explanation_says_and_leaves_nothing_behind() {
    let world = World::start(&[]).await;
    let before = world.policy().await;
    for name in lab::names() {
        let report = world.run(name).await;
        assert!(report.is_as_explained(), "{name}: {report:#?}");
        let text = report.to_text() + &report.to_json().to_string();
        for secret in ["eyJ", "m2m_"] {
            let shown = text.split(secret).skip(1);
            let hidden = shown.clone().all(|rest| rest.starts_with('…'));
            assert!(hidden, "{name} shows what is secret: {text}");
        }
        let exchanges = report.steps.iter().flat_map(|step| &step.exchanges);
        assert!(exchanges.count() >= 3, "{name} shows what it did");
    }
    assert_eq!(world.policy().await, before);
    assert!(!world.has_clients_of_the_lab().await);
}

/// As if somebody had forgotten to check for whom a token is.
#[actix_web::test]
async fn a_calendar_that_takes_the_tokens_of_the_notes_is_found_out() {
    let world = World::start(&["--audience", "note-service", "--revocation", "none"]).await;
    let report = world.run("wrong-audience").await;
    assert!(!report.is_as_explained());
    let text = report.to_text();
    for says in [
        "answered 403",
        "The attack succeeded",
        "Does this service check `aud`?",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
}

#[actix_web::test]
async fn an_experiment_that_is_stopped_or_fails_removes_what_it_made() {
    let world = World::start(&["--revocation", "none"]).await;
    for name in ["secret-rotation", "policy-change"] {
        // Stopped in the middle, once there is something to remove.
        let (tell, mut told) = mpsc::unbounded_channel();
        let stop = Stop::default();
        let bench = Workbench::new(world.setting.clone(), stop.clone(), Some(tell));
        let running = tokio::spawn(lab::run(lab::find(name).unwrap(), bench));
        while let Some(note) = told.recv().await {
            if matches!(&note, Note::Exchange(made) if made.status == Some(201)) {
                stop.now();
                break;
            }
        }
        let failure: Failure = running.await.unwrap().unwrap_err();
        assert!(failure.message.contains("stopped"), "{failure}");
        assert!(!world.has_clients_of_the_lab().await, "{name}");

        // Failed in the middle: the notes are away.
        let mut setting = world.setting.clone();
        setting.servers.note = "http://127.0.0.1:1".parse().unwrap();
        let bench = Workbench::new(setting, Stop::default(), None);
        let failed = lab::run(lab::find(name).unwrap(), bench).await;
        assert_eq!(failed.unwrap_err().kind, Kind::Unreachable);
        assert!(!world.has_clients_of_the_lab().await, "{name}");
    }
}
