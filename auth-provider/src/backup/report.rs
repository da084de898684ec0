//! What a command prints at its end, and on the way when it takes long.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    cli::output::{json_text, table},
    storage::copy::Sum,
};

/// After so many rows of one table a line on stderr says how far it is.
const STEP: u64 = 100_000;

/// What was copied of one table.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Line {
    pub(super) table: String,
    #[serde(flatten)]
    pub(super) sum: Sum,
}

pub(super) fn progress(table: &str, rows: u64) {
    if rows.is_multiple_of(STEP) {
        eprintln!("{table}: {rows} rows");
    }
}

/// Everything as one object, or a table and what `told` says.
pub(super) fn report(json: bool, mut members: Value, lines: &[Line], told: &str) -> String {
    if json {
        if !lines.is_empty() {
            members["tables"] = json!(lines);
        }
        return json_text(&members, true) + "\n";
    }
    let rows = lines.iter().map(|line| {
        let Sum { rows, sha256 } = &line.sum;
        [line.table.clone(), rows.to_string(), sha256.clone()]
    });
    let shown = if lines.is_empty() {
        String::new()
    } else {
        table(["TABLE", "ROWS", "SHA-256"], rows) + "\n"
    };
    shown + told
}
