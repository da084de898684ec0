//! The guide is true: each file in it is read by the program that it is for, and each command does what is written below it.

use std::{collections::VecDeque, fs, path::Path};

use auth_provider::policy_file::Policy;
use m2m::ManualClock;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use token_vault::provider::{Dialect, ProviderFile};
use toml::{Table, Value as Toml};

use crate::{
    support::NOW,
    world::{World, private_file},
};

const GUIDE: &str = include_str!("../../GUIDE.md");

/// The client of the guide.
const CLIENT: &str = "build-server";

/// The blocks of code in this language.
fn blocks(language: &str) -> Vec<String> {
    let opening = format!("```{language}");
    let mut blocks = Vec::new();
    let mut lines = GUIDE.lines();
    while lines.by_ref().any(|line| line == opening) {
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(block.join("\n"));
    }
    blocks
}

/// A command, and what the guide says that it prints.
struct Command {
    words: VecDeque<String>,
    prints: String,
}

/// The commands of all blocks. A line that begins with `$` begins one; it goes on while a quote is open.
fn commands() -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    for block in blocks("console") {
        let mut lines = block.lines();
        while let Some(line) = lines.next() {
            let Some(line) = line.strip_prefix("$ ") else {
                let command = commands.last_mut().expect("a block begins with a command");
                command.prints.extend([line, "\n"]);
                continue;
            };
            let mut text = line.to_owned();
            while text.matches('\'').count() % 2 == 1 {
                text.extend(["\n", lines.next().expect("the quote is closed")]);
            }
            commands.push(Command {
                words: words(&text).into(),
                prints: String::new(),
            });
        }
    }
    commands
}

/// As a shell takes a line apart, with quotes and without anything else.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in text.chars() {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            (' ' | '\n', None) if word.is_empty() => {}
            (' ' | '\n', None) => words.push(std::mem::take(&mut word)),
            _ => word.push(c),
        }
    }
    words.push(word);
    words
}

/// The guide's providers, led to the emulator, with secrets that are there.
fn providers(world: &World) -> String {
    let mut all = Table::new();
    for block in blocks("toml") {
        if let Some(Toml::Table(providers)) = block.parse::<Table>().unwrap().remove("providers") {
            all.extend(providers);
        }
    }
    let secret = world.folder.path().join("secret").display().to_string();
    for (_, provider) in &mut all {
        let provider = provider.as_table_mut().unwrap();
        assert!(
            provider.remove("client_secret_file").is_some()
                || provider.remove("client_secret_env").is_some()
        );
        let leads_to = |path: &str| Toml::from(format!("{}/{path}", world.provider.url));
        provider.insert("client_secret_file".to_owned(), secret.clone().into());
        provider.insert("token_endpoint".to_owned(), leads_to("token"));
        provider.insert("revocation_endpoint".to_owned(), leads_to("revoke"));
    }
    Table::from_iter([("providers".to_owned(), Toml::Table(all))]).to_string()
}

/// As curl would send it.
async fn send(world: &World, mut words: VecDeque<String>, next: &str) -> Response {
    assert_eq!(words.pop_front().unwrap(), "curl");
    let (mut method, mut url, mut body, mut headers) = (None, None, None, Vec::new());
    while let Some(word) = words.pop_front() {
        let mut value = || words.pop_front().expect("the option has a value");
        match word.as_str() {
            "-X" => method = Some(Method::from_bytes(value().as_bytes()).unwrap()),
            "-H" => headers.push(value()),
            "--json" => body = Some(value()),
            _ => assert!(url.replace(word).is_none(), "one address"),
        }
    }
    let url = url
        .unwrap()
        .replace("$VAULT", &world.base)
        .replace("$NEXT", next);
    let method = method.unwrap_or(if body.is_some() {
        Method::POST
    } else {
        Method::GET
    });
    let mut request = world.http.request(method, url);
    if let Some(body) = body {
        let _: Value = serde_json::from_str(&body).unwrap();
        request = request
            .header("content-type", "application/json")
            .body(body);
    }
    let token = world.token(CLIENT, "tokens.read tokens.write tokens.delete audit.read");
    for header in headers {
        let (name, value) = header.split_once(": ").unwrap();
        request = request.header(name, value.replace("$TOKEN", &token));
    }
    request.send().await.unwrap()
}

/// Whether the answer has what the guide shows; `…` stands for anything.
fn shows(shown: &Value, answer: &Value) -> bool {
    match (shown, answer) {
        (Value::Object(shown), Value::Object(answer)) => shown.iter().all(|(name, shown)| {
            name == "…" || answer.get(name).is_some_and(|answer| shows(shown, answer))
        }),
        (Value::Array(shown), Value::Array(answer)) => {
            let (open, shown): (Vec<_>, Vec<_>) = shown.iter().partition(|shown| *shown == "…");
            let enough = shown.len() == answer.len() || !open.is_empty();
            enough
                && shown
                    .iter()
                    .zip(answer)
                    .all(|(shown, answer)| shows(shown, answer))
        }
        (Value::String(shown), _) if shown == "…" => !answer.is_null(),
        (Value::String(shown), Value::String(answer)) if shown.ends_with('…') => {
            answer.starts_with(shown.trim_end_matches('…'))
        }
        _ => shown == answer,
    }
}

/// What the guide prints, with each bare `…` as JSON.
fn shown(prints: &str) -> Value {
    let json = prints
        .replace(", …}", r#", "…": 0}"#)
        .replace(", …]", r#", "…"]"#)
        .replace(": …", r#": "…""#);
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {prints}"))
}

#[test]
fn each_file_is_read_by_the_program_that_it_is_for() {
    let mut seen = [0, 0];
    for block in blocks("toml") {
        let is_providers = block.parse::<Table>().unwrap().contains_key("providers");
        seen[usize::from(is_providers)] += 1;
        if is_providers {
            ProviderFile::parse(&block).unwrap();
        } else {
            // The resource itself is in the demo's policy.
            let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/policy.toml");
            Policy::parse(&(fs::read_to_string(demo).unwrap() + &block)).unwrap();
        }
    }
    assert_eq!(seen, [1, 4]);
}

#[actix_web::test]
async fn each_command_does_what_is_written_below_it() {
    let hand = ManualClock::at(NOW);
    let mut world = World::without_vault(Dialect::Generic, None, hand.clock()).await;
    let file = world.folder.path().join("providers.toml");
    private_file(&file, &providers(&world));
    let replica = world.replica(&[]).await.unwrap();
    world.add(replica);

    // Alice's workspaces: one that is well, and one that removed the app.
    for (workspace, access, expires_in) in [
        ("T024BE7LD", "xoxe.xoxp-1", 43_200),
        ("T0PQR1234", "xoxe.xoxp-2", 1),
    ] {
        let body = json!({
            "user": "alice", "connection": workspace, "access_token": access,
            "refresh_token": format!("rt.{workspace}.9"), "expires_in": expires_in,
        });
        assert_eq!(world.post(CLIENT, "/slack", &body).await.status(), 200);
    }
    hand.advance(std::time::Duration::from_secs(2));

    let commands = commands();
    assert_eq!(commands.len(), 9);
    let mut next = String::new();
    for Command { words, prints } in commands {
        let command = words.iter().cloned().collect::<Vec<_>>().join(" ");
        let answer = send(&world, words, &next).await;
        let status = answer.status();
        let answer: Value = answer.json().await.unwrap();
        let shown = shown(&prints);
        assert_eq!(
            status,
            shown["status"]
                .as_u64()
                .map_or(200, |n| n.try_into().unwrap()),
            "{command}: {answer}"
        );
        assert!(
            shows(&shown, &answer),
            "{command}: {answer}, and the guide says {shown}"
        );
        next = answer["next"].as_str().unwrap_or_default().to_owned();
    }
}
