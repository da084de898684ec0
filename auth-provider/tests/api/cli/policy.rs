//! The policy by command: a file is planned, applied and exported, the graph is shown, and a refusal explained.

use std::fs;

use super::journey::Journey;

const MORE: &str = "
    [resources.ledger]
    scopes = { 'entry.write' = 'Write entries' }
    [clients.clerk]
    [[grants]]
    client = 'clerk'
    resource = 'ledger'
    scopes = ['entry.write']
    reason = 'The clerk keeps the ledger'
    ";

#[test]
fn a_policy_is_planned_applied_and_exported_by_command() {
    let journey = Journey::start();
    let write = |name: &str, text: &str| fs::write(journey.folder.path().join(name), text).unwrap();
    let read = |name: &str| fs::read_to_string(journey.folder.path().join(name)).unwrap();

    journey.done(&["policy", "export", "before.toml"]);
    let before = read("before.toml");
    let check = |file: &str| journey.run(&["policy", "plan", "--check", "--prune", file]);
    assert_eq!(check("before.toml").0, Some(0));
    let (code, _, err) = journey.run(&["policy", "export", "before.toml"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("--force"), "{err}");

    write("after.toml", &(before.clone() + MORE));
    let (code, plan, _) = check("after.toml");
    assert_eq!(code, Some(3));
    for part in [
        "+ client clerk\n",
        "+ resource ledger\n",
        "+ grant clerk -> ledger\n",
        "3 to add, 0 to change, 0 to remove.",
    ] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    assert_eq!(
        journey.done(&["policy", "plan", "after.toml"]),
        plan,
        "it changed nothing"
    );
    assert_eq!(journey.done(&["policy", "apply", "after.toml"]), plan);
    let nothing = journey.done(&["policy", "apply", "after.toml"]);
    assert!(nothing.starts_with("Nothing to do"), "{nothing}");

    // What is exported and applied is the same.
    let export = journey.done(&["policy", "export", "-"]);
    write("export.toml", &export);
    assert_eq!(check("export.toml").0, Some(0));
    let applied = journey.json(&["policy", "apply", "--prune", "export.toml"]);
    assert_eq!(applied["changes"], serde_json::json!([]));
    journey.done(&["policy", "export", "--force", "before.toml"]);
    assert_eq!(read("before.toml"), export);

    // Nobody is there who could be asked about removals.
    write("before.toml", &before);
    let back = ["policy", "apply", "--prune", "before.toml"];
    let (code, _, err) = journey.run(&back);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("say --yes"), "{err}");
    let kept = journey.done(&["policy", "apply", "before.toml"]);
    assert!(kept.starts_with("Nothing to do"), "{kept}");
    let removed = journey.done(&[&back[..], &["--yes"]].concat());
    assert!(removed.contains("- client clerk\n"), "{removed}");
    assert_eq!(journey.done(&["policy", "export", "-"]), before);

    write(
        "bad.toml",
        "[clients.a]\n[[grants]]\nclient = 'a'\nresource = 'gone'\n",
    );
    for (command, part) in [
        (
            ["policy", "plan", "bad.toml"],
            "there is no [resources.gone]",
        ),
        (
            ["policy", "apply", "bad.toml"],
            "there is no [resources.gone]",
        ),
        (
            ["policy", "apply", "missing.toml"],
            "cannot read missing.toml",
        ),
    ] {
        let (code, _, err) = journey.run(&command);
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains(part), "{err}");
    }
    assert_eq!(journey.done(&["policy", "export", "-"]), before);
}

#[test]
fn the_graph_is_shown_and_a_refusal_explained_by_command() {
    let journey = Journey::start();
    for (format, part) in [
        ("matrix", "bot"),
        ("graph", "note.read"),
        ("mermaid", "-->"),
        ("dot", " -> "),
    ] {
        let shown = journey.done(&["policy", "show", "--format", format]);
        assert!(shown.contains(part) && shown.contains("notes"), "{shown}");
    }
    let graph = journey.json(&["policy", "show"]);
    assert!(graph["grants"].as_array().unwrap().len() > 3);

    let allowed = [
        "explain",
        "--client=bot",
        "--resource=notes",
        "--scope=note.read",
    ];
    let told = journey.done(&allowed);
    assert!(
        told.starts_with("Allowed: bot may call notes with note.read"),
        "{told}"
    );
    assert_eq!(journey.json(&allowed)["code"], "granted");
    for (arguments, part) in [
        (&["--client=nobody", "--resource=notes"][..], "nobody"),
        (&["--client=bot"], "bot names no resource"),
        (
            &["--client=single", "--resource=notes"],
            "single may not call notes",
        ),
        (
            &[
                "--client=bot",
                "--resource=calendar",
                "--scope=calendar.write",
            ],
            "bot may not call calendar",
        ),
        (&["--client=stranger"], "There is no client of that name"),
    ] {
        let arguments = [&["explain"], arguments].concat();
        let (code, out, err) = journey.run(&arguments);
        assert_eq!(code, Some(4), "{arguments:?}: {out}{err}");
        assert!(
            out.starts_with("Not allowed (") && out.contains(part),
            "{out}"
        );
    }

    // Who asks for a token gets a name for the refusal, and the log says the same there as explain does.
    let events = ["audit", "--client=single", "--outcome=refused"];
    assert_eq!(journey.json(&events), serde_json::json!([]));
    let refused = ["policy", "show", "--as=single"];
    let (code, _, err) = journey.run(&refused);
    assert_eq!(code, Some(1), "{err}");
    let event = &journey.json(&events)[0];
    let (_, out, _) = journey.run(&["explain", "--client=single", "--resource=auth-provider"]);
    let sentence = event["explanation"].as_str().unwrap();
    assert!(out.contains(sentence), "{out}: {event}");
    let code = event["reason"].as_str().unwrap();
    assert!(out.starts_with(&format!("Not allowed ({code}): ")), "{out}");
}
