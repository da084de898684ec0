//! The commands and the provider that they are for, both the real program.

use std::{
    fs,
    process::{Child, Output},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    process::{in_folder, program, started, terminate},
    support::{folder, secret_in},
};

/// A provider that runs until the test ends, and an administrator who looks at everything that is logged.
struct Journey {
    folder: TempDir,
    url: String,
    provider: Child,
    /// What may never be told.
    secrets: Vec<String>,
}

impl Journey {
    fn start() -> Self {
        let folder = folder();
        let (provider, address) = started(&mut in_folder(folder.path()));
        let secrets = vec![secret_in(&folder.path().join("clients.json"), "admin")];
        Self {
            folder,
            url: format!("http://{address}"),
            provider,
            secrets,
        }
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = program();
        command.current_dir(self.folder.path()).args(arguments);
        command.env_remove("AUTH_PROVIDER_CLIENT_ID");
        command.args(["--url", &self.url]).env("RUST_LOG", "trace");
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().unwrap();
        let [out, err] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        for secret in &self.secrets {
            assert!(
                !err.contains(secret) && !out.contains(secret),
                "{arguments:?}"
            );
        }
        assert!(!err.contains("Bearer ey"), "{arguments:?}");
        (status.code(), out, err)
    }

    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {out}{err}");
        out
    }

    /// The answer in JSON.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let out = self.done(&[arguments, &["--json"]].concat());
        serde_json::from_str(&out).unwrap()
    }

    /// Carries out what makes a secret, which goes to a file.
    #[track_caller]
    fn secret(&mut self, arguments: &[&str]) -> Value {
        let name = format!("secret-{}", self.secrets.len());
        let made = self.json(&[arguments, &["--secret-file", &name]].concat());
        let secret = fs::read_to_string(self.folder.path().join(name)).unwrap();
        self.secrets.push(secret.trim_end().to_owned());
        made
    }
}

impl Drop for Journey {
    fn drop(&mut self) {
        terminate(&self.provider);
        _ = self.provider.wait();
    }
}

#[test]
fn a_client_lives_its_life_by_command() {
    let mut journey = Journey::start();
    let robot = journey.secret(&["client", "create", "robot", "--metadata", "team=lab"]);
    assert_eq!(robot["metadata"]["team"], "lab");
    let grant = ["--client=robot", "--resource=notes"];
    let scopes = [
        "--scope=note.read",
        "--scope=note.write",
        "--expires-at=in 1d",
    ];
    journey.json(&[&["grant", "create"], &grant[..], &scopes].concat());
    let narrowed = [
        &["grant", "update"],
        &grant[..],
        &["--remove-scope=note.write"],
    ]
    .concat();
    assert_eq!(
        journey.json(&narrowed)["scopes"],
        serde_json::json!(["note.read"])
    );

    // The new secret opens the door, and has no right to administer.
    fs::write(
        journey.folder.path().join("robot.json"),
        serde_json::json!({"robot": {"clientId": "robot", "clientSecret": journey.secrets[1]}})
            .to_string(),
    )
    .unwrap();
    let as_robot = ["client", "list", "--as=robot", "--clients-file=robot.json"];
    let (code, _, err) = journey.run(&as_robot);
    assert_eq!(code, Some(1));
    assert!(err.contains("invalid_target"), "{err}");

    let first = robot["credential_id"].as_str().unwrap().to_owned();
    let second = journey.secret(&["credential", "rotate", "robot", "--grace=1h"]);
    let second = second["credential_id"].as_str().unwrap().to_owned();
    journey.done(&["credential", "delete", "robot", &first, "--yes"]);
    let third = journey.secret(&["credential", "start", "robot", "--label=third"]);
    assert_eq!(third["replaces"], *second);
    journey.done(&["credential", "finish", "robot", "--yes"]);
    let left = journey.json(&["credential", "list", "robot"]);
    assert_eq!(left.as_array().unwrap().len(), 1);
    assert_eq!(left[0]["label"], "third");

    journey.done(&["client", "deactivate", "robot", "--yes"]);
    let inactive = journey.json(&["client", "list", "--status=inactive"]);
    assert_eq!(inactive[0]["client_id"], "robot");
    journey.done(&["client", "delete", "robot", "--yes"]);
    let (code, _, err) = journey.run(&["client", "show", "robot"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("there is no client"), "{err}");

    let events = journey.json(&["audit", "--client=robot", "--outcome=success"]);
    let actions = events.as_array().unwrap().iter();
    let actions: Vec<_> = actions
        .map(|event| event["action"].as_str().unwrap())
        .collect();
    for action in [
        "client.created",
        "grant.created",
        "credential.rotated",
        "client.deleted",
    ] {
        assert!(actions.contains(&action), "{action}: {actions:?}");
    }
}

#[test]
fn a_resource_lives_its_life_by_command() {
    let journey = Journey::start();
    let name = "https://ledger.example/v1";
    journey.json(&[
        "resource",
        "create",
        name,
        "--scope=read=Read it",
        "--scope=write",
    ]);
    let changed = journey.json(&[
        "resource",
        "update",
        name,
        "--remove-scope=write",
        "--owner=bot",
    ]);
    assert_eq!(changed["scopes"], serde_json::json!({"read": "Read it"}));
    journey.done(&["resource", "delete", name, "--yes"]);
    let (code, _, err) = journey.run(&["resource", "delete", "notes", "--yes"]);
    assert_eq!(code, Some(1), "it has grants");
    assert!(err.contains("has a grant for it"), "{err}");
}
