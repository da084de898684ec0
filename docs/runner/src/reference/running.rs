//! All programs at once in a workshop, and what they answer.

use std::{fmt::Write, fs, path::Path, process::Stdio};

use anyhow::{Context, ensure};

use super::tables::{PATHS, PORTS};
use crate::workshop::{Apart, Workshop};

/// What was seen of the running programs.
pub(super) struct Running {
    /// What `assistant token calendar-service` says.
    pub(super) token: String,
    /// Program, and its `/metrics`.
    pub(super) metrics: Vec<(&'static str, String)>,
    /// The status of each of [`PATHS`], in their order.
    pub(super) statuses: Vec<String>,
}

/// Stands between answers, and in none of them.
const MARK: &str = "\u{1e}";

impl Running {
    /// Starts all programs in a workshop, asks them, and stops them.
    pub(super) fn look(root: &Path, programs: &Path) -> anyhow::Result<Self> {
        let mut script = "export PATH=\"$PWD/target/debug:$PATH\"\n".to_owned();
        for (program, argument, _) in PORTS {
            writeln!(script, "{program} {argument} >{program}.log 2>&1 &")?;
        }
        for (program, _, port) in PORTS {
            writeln!(
                script,
                "for try in {{1..300}}; do curl -sfo /dev/null localhost:{port}/ready && break; sleep 0.1; done\n\
                 [ $try -lt 300 ] || {{ cat {program}.log >&2; exit 1; }}"
            )?;
        }
        writeln!(
            script,
            "assistant token calendar-service --scope calendar.read || exit 1"
        )?;
        for (_, _, port) in PORTS {
            writeln!(
                script,
                "printf '{MARK}'; curl -sf localhost:{port}/metrics || exit 1"
            )?;
        }
        for (program, method, path, _) in PATHS {
            let (_, _, port) = PORTS
                .iter()
                .find(|(name, ..)| *name == program)
                .context("its port")?;
            // The status comes first; who would never stop answering is left.
            writeln!(
                script,
                "printf '{MARK}'; curl -s -X {method} --max-time 2 -o /dev/null -w '%{{http_code}}' localhost:{port}{path}"
            )?;
        }
        script.push_str("kill $(jobs -p); wait\n");
        let workshop = Workshop::new(root, programs)?;
        let file = workshop.folder().join("look");
        fs::write(&file, script)?;
        let shell = Path::new("bash");
        let arguments = [file.to_str().context("a path in UTF-8")?];
        let answer = workshop
            .command(Apart::found(), shell, &arguments)
            .stderr(Stdio::inherit())
            .output()?;
        ensure!(answer.status.success(), "the programs could not be asked");
        let text = String::from_utf8(answer.stdout)?;
        let mut parts = text.split(MARK).map(str::to_owned);
        let token = parts.next().context("a token")?;
        let metrics = PORTS
            .iter()
            .map(|(name, ..)| *name)
            .zip(parts.by_ref())
            .collect();
        Ok(Self {
            token,
            metrics,
            statuses: parts.collect(),
        })
    }
}
