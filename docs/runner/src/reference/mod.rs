//! The reference, written by the programs themselves: what their `--help`, their `/metrics`, a token of
//! theirs and the document of their API say, as pages.
//!
//! What only a person can know (what to do about an error, what a path is for) stands in `tables.rs`, and
//! each table is held against the code: a code or a path too many or too few is an error.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

mod running;
mod tables;

use running::Running;
use tables::{ERRORS, PATHS, PROGRAMS};

/// A page of the reference: its file in `docs/reference/`, and its text.
pub type Page = (&'static str, String);

/// Writes all pages, for the project at `root` with programs in `programs`. It runs them.
///
/// # Errors
/// When a program cannot be run, or a table here and the code disagree.
pub fn pages(root: &Path, programs: &Path) -> anyhow::Result<Vec<Page>> {
    let running = Running::look(root, programs)?;
    Ok(vec![
        ("command-line.md", command_line(programs)?),
        ("configuration.md", configuration(programs)?),
        ("endpoints.md", endpoints(root, &running)?),
        ("claims.md", claims(&running.token)),
        ("errors.md", errors(root)?),
        ("metrics.md", metrics(&running)?),
    ])
}

fn head(title: &str, words: &str) -> String {
    format!(
        "<!-- Written by `scripts/reference`: change the programs, not this page. -->\n\n# {title}\n\n{words}\n"
    )
}

// ---- What the programs say about themselves --------------------------------------------------------------------------

fn help(programs: &Path, words: &[&str]) -> anyhow::Result<String> {
    let (program, arguments) = words.split_first().context("a program")?;
    let answer = Command::new(programs.join(program))
        .args(arguments)
        .arg("--help")
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}: build it first"))?;
    ensure!(
        answer.status.success(),
        "`{} --help` failed",
        words.join(" ")
    );
    let text = String::from_utf8(answer.stdout)?;
    let lines: Vec<_> = text.trim_end().lines().map(str::trim_end).collect();
    Ok(lines.join("\n"))
}

/// The names in the section `Commands:` of a help text.
fn commands(help: &str) -> Vec<&str> {
    let section = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    section
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect()
}

fn command_line(programs: &Path) -> anyhow::Result<String> {
    let mut page = head("Command line", "What each program says with `--help`.");
    for program in PROGRAMS {
        describe(programs, &[program], &mut page)?;
    }
    Ok(page)
}

fn describe(programs: &Path, words: &[&str], page: &mut String) -> anyhow::Result<()> {
    let text = help(programs, words)?;
    let level = if words.len() == 1 { "##" } else { "###" };
    write!(
        page,
        "\n{level} {}\n\n```text\n{text}\n```\n",
        words.join(" ")
    )?;
    for name in commands(&text) {
        let words: Vec<_> = words.iter().copied().chain([name]).collect();
        describe(programs, &words, page)?;
    }
    Ok(())
}

fn configuration(programs: &Path) -> anyhow::Result<String> {
    let words = "Every setting of the servers. A flag comes before its environment variable, and that before the \
                 default; `auth-provider` also reads `auth-provider.toml`, with the flag's name and `_` for `-`.";
    let mut page = head("Configuration", words);
    for program in PROGRAMS.iter().filter(|program| **program != "assistant") {
        let text = help(programs, &[program])?;
        write!(
            page,
            "\n## {program}\n\n| flag | environment | default | |\n|---|---|---|---|\n"
        )?;
        for option in options(&text) {
            let [environment, default] = [&option.environment, &option.default].map(|it| code(it));
            writeln!(
                page,
                "| `{}` | {environment} | {default} | {} |",
                option.flag,
                cell(&option.meaning)
            )?;
        }
    }
    Ok(page)
}

/// A setting as a help text has it.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    flag: String,
    environment: String,
    default: String,
    meaning: String,
}

fn options(help: &str) -> Vec<Setting> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in help.lines().skip_while(|line| *line != "Options:").skip(1) {
        if !line.is_empty() && !line.starts_with(' ') {
            break;
        }
        if line.trim_start().starts_with('-') && line.len() - line.trim_start().len() < 8 {
            found.push((line.trim().to_owned(), String::new()));
        } else if let Some((_, text)) = found.last_mut() {
            text.push(' ');
            text.push_str(line.trim());
        }
    }
    let wanted = found
        .into_iter()
        .filter(|(flag, _)| !flag.contains("--help") && !flag.contains("--version"));
    wanted
        .map(|(flag, mut text)| {
            let mut take = |name: &str| {
                let Some((before, rest)) = text.split_once(&format!("[{name}: ")) else {
                    return String::new();
                };
                let (value, after) = rest.split_once(']').unwrap_or((rest, ""));
                let value = value.trim_end_matches('=').to_owned();
                text = format!("{before}{after}");
                value
            };
            let (environment, default) = (take("env"), take("default"));
            let _ = take("possible values");
            let words: Vec<_> = text.split_whitespace().collect();
            Setting {
                flag,
                environment,
                default,
                meaning: words.join(" "),
            }
        })
        .collect()
}

fn code(text: &str) -> String {
    match text {
        "" => String::new(),
        text if text.contains('`') || text.contains(' ') => cell(text),
        text => format!("`{}`", cell(text)),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

// ---- What they do when they run --------------------------------------------------------------------------------------

fn endpoints(root: &Path, running: &Running) -> anyhow::Result<String> {
    let mut page = head(
        "Endpoints",
        "Each server also has `/health`, `/ready` and `/metrics`. The paths of other systems' dialects are in \
         [dialects](dialects.md). With `--dynamic-registration`, the provider also has `/auth/clients/register` (RFC 7591, RFC \
         7592).",
    );
    let mut last = "";
    ensure!(
        running.statuses.len() == PATHS.len(),
        "not every path was asked for"
    );
    for ((program, method, path, purpose), status) in PATHS.iter().zip(&running.statuses) {
        if matches!(status.as_str(), "404" | "405" | "000" | "500") {
            bail!("{program}: {method} {path} answers {status}: mend reference/tables.rs");
        }
        if *program != last {
            write!(page, "\n## {program}\n\n| | | |\n|---|---|---|\n")?;
            last = program;
        }
        let path = path.replace("/1", "/{id}");
        let path = if *program == "token-vault" {
            path.replace("/github", "/{service}")
        } else {
            path
        };
        writeln!(page, "| {method} | `{path}` | {purpose} |")?;
    }
    write!(
        page,
        "\n## The administration\n\nBelow `/admin/v1` of `auth-provider`, with a token for `auth-provider`. The whole \
         document is at `/admin/v1/openapi.json`, to read at `/admin/v1/docs`.\n\n| | | | scope |\n|---|---|---|---|\n"
    )?;
    let document = fs::read_to_string(root.join("auth-provider/src/http/openapi.json"))?;
    let document: Value = serde_json::from_str(&document)?;
    for (path, operations) in document["paths"].as_object().context("paths")? {
        for method in ["get", "post", "put", "patch", "delete"] {
            let operation = &operations[method];
            let Some(summary) = operation["summary"].as_str() else {
                continue;
            };
            let scopes = operation["security"][0]["admin_token"].as_array();
            let scopes: Vec<_> = scopes
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let method = method.to_uppercase();
            writeln!(
                page,
                "| {method} | `{path}` | {} | {} |",
                cell(summary),
                code(&scopes.join(", "))
            )?;
        }
    }
    Ok(page)
}

/// From the assistant's explanation: a name and a value in one line, the meaning in the next.
fn claims(token: &str) -> String {
    let words = "What stands in an access token of the standard profile (RFC 9068), as `assistant token` explains it. \
                 Other profiles are in [dialects](dialects.md). Times are in seconds since 1970.";
    let mut page = head("Claims", words);
    let mut lines = token.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(title) = ["Header", "Claims"]
            .iter()
            .find(|title| line.starts_with(**title))
        {
            let _ = write!(page, "\n## {title}\n\n| | example | |\n|---|---|---|\n");
        } else if let Some((name, value)) = line.trim().split_once("  ")
            && line.starts_with("  ")
            && let Some(meaning) = lines.peek()
        {
            // These are different each time.
            let value = match name {
                "kid" | "jti" | "iat" | "nbf" | "exp" => "…",
                _ => value.trim(),
            };
            let _ = writeln!(page, "| `{name}` | `{value}` | {} |", meaning.trim());
        }
    }
    page
}

fn errors(root: &Path) -> anyhow::Result<String> {
    let mut page = head(
        "Errors",
        "What the servers answer when they refuse. Messages of the programs themselves are told by their exit status, at the \
         end of each [help text](command-line.md).",
    );
    let source = fs::read_to_string(root.join("auth-provider/src/error.rs"))?;
    let in_code: BTreeSet<_> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => \""))
        .filter_map(|(_, rest)| rest.strip_suffix("\","))
        .collect();
    let known: BTreeSet<_> = ERRORS.iter().map(|(code, ..)| *code).collect();
    ensure!(
        in_code == known,
        "mend the table of errors in reference/tables.rs: {:?}",
        in_code.symmetric_difference(&known)
    );
    page.push_str(
        "\n## The provider's OAuth endpoints\n\n`{\"error\", \"error_description\", \"request_id\"}` (RFC 6749 section 5.2). \
         The description tells how to mend the request; `auth-provider audit --request-id` finds the rest. A limit that is \
         reached is 429 with `Retry-After`.\n\n| code | status | meaning | what to do |\n|---|---|---|---|\n",
    );
    for (code, status, meaning, advice) in ERRORS {
        writeln!(page, "| `{code}` | {status} | {meaning} | {advice} |")?;
    }
    page.push_str(
        "\n## Services\n\nIn `WWW-Authenticate` (RFC 6750 section 3), and as `application/problem+json` (RFC 9457).\n\n\
         | code | status | meaning | what to do |\n|---|---|---|---|\n\
         | none | 401 | no token was sent | send `Authorization: Bearer …` |\n\
         | `invalid_token` | 401 | malformed, forged, expired, revoked, or for somebody else | get a new one, for this service |\n\
         | `insufficient_scope` | 403 | a good token that does not allow this | ask for the scope in the header |\n\
         | `invalid_request` | 400 | several tokens, or one in the wrong place | send one, in the header |\n\
         | none | 503 | the token cannot be checked at the moment | come back after `Retry-After`; see the service's `/ready` |\n\
         \n## The administration\n\n`application/problem+json` with `detail`, and with the `field` that is wrong where it is one. \
         412 means that somebody else was faster: read again, and change that.\n",
    );
    Ok(page)
}

fn metrics(running: &Running) -> anyhow::Result<String> {
    let mut page = head(
        "Metrics",
        "What `/metrics` tells, in the order in which it does. [Observability](../how-to/observability.md) says which of \
         them to watch.",
    );
    for (program, text) in &running.metrics {
        write!(page, "\n## {program}\n\n| name | kind | |\n|---|---|---|\n")?;
        let mut kinds = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.splitn(4, ' ');
            let mut next = || words.next();
            if let [Some("#"), Some("TYPE"), Some(name), Some(kind)] =
                [next(), next(), next(), next()]
            {
                kinds.insert(name, kind);
            }
        }
        for line in text.lines() {
            if let Some((name, meaning)) = line
                .strip_prefix("# HELP ")
                .and_then(|rest| rest.split_once(' '))
            {
                let kind = kinds.get(name).copied().unwrap_or_default();
                writeln!(page, "| `{name}` | {kind} | {} |", cell(meaning))?;
            }
        }
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "\
Serves.

Usage: server [OPTIONS]

Commands:
  run   Run it, and
        more
  help  Print this

Options:
      --listen <ADDRESS>
          Where to listen

          [env: SERVER_LISTEN=]
          [default: localhost:1]

  -w, --workers <N>  Threads [default: one per core] [env: SERVER_WORKERS=]
  -h, --help         Print help

Further:
  --no-option";

    #[test]
    fn commands_and_settings_are_read_from_a_help_text() {
        assert_eq!(commands(HELP), ["run"]);
        let settings = options(HELP);
        assert_eq!(settings.len(), 2, "{settings:?}");
        assert_eq!(settings[0].flag, "--listen <ADDRESS>");
        assert_eq!(settings[0].environment, "SERVER_LISTEN");
        assert_eq!(settings[0].default, "localhost:1");
        assert_eq!(settings[0].meaning, "Where to listen");
    }
}
