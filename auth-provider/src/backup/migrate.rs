//! From one database into another.

use anyhow::{Context, ensure};
use futures_util::TryStreamExt;

use super::report::{Line, progress};
use crate::{
    startup,
    storage::{
        DatabaseUrl, VERSION,
        copy::{Filling, Snapshot, Source, Summing, tables, to_bytes},
    },
};

pub(super) const AFTERWARDS: &str = "\
Everything was copied, read back and found the same. The master key is not in the database: start servers on the new one
with the same DATA_DIR/master.key or AUTH_PROVIDER_MASTER_KEY, and the same clients.json.
";

/// Copies everything, in one moment and at once.
///
/// # Errors
/// When a server runs on one of them, the target is not empty, or what was written is not what was read. Then the
/// target has nothing of it.
pub(super) async fn migrate(from: &str, to: &str) -> anyhow::Result<Vec<Line>> {
    let from: DatabaseUrl = from.parse().context("--from")?;
    let to: DatabaseUrl = to.parse().context("--to")?;
    ensure!(from != to, "--from and --to are the same database");
    if let DatabaseUrl::SqliteFile(path) = &from {
        // The lock would make the file's folder look used.
        ensure!(path.exists(), "there is no database {from}");
    }
    let _locks = (startup::lock(&from)?, startup::lock(&to)?);

    let mut snapshot = Snapshot::open(&from, Source::BroughtUpToDate)
        .await
        .with_context(|| format!("cannot read {from}"))?;
    if snapshot.others() > 0 {
        eprintln!(
            "{} others are connected to {from}: what they write from now on is not copied. Are all servers stopped?",
            snapshot.others()
        );
    }
    let mut filling = Filling::begin(&to, VERSION, tables())
        .await
        .with_context(|| format!("cannot fill {to}"))?;
    let mut lines = Vec::new();
    for table in tables() {
        let last_number = snapshot.last_number(&table).await?;
        let mut summing = Summing::of(&table);
        let mut rows = snapshot.rows(&table);
        let mut batch = Vec::new();
        while let Some(row) = rows.try_next().await? {
            summing.add(&to_bytes(&row));
            progress(&table.name, summing.rows());
            batch.push(row);
            if batch.len() == Filling::batch() {
                filling.add(&table, &batch).await?;
                batch.clear();
            }
        }
        drop(rows);
        filling.add(&table, &batch).await?;
        let sum = summing.finish();
        filling.finish(&table, &sum, last_number).await?;
        lines.push(Line {
            table: table.name,
            sum,
        });
    }
    let committed = filling.commit().await;
    committed.with_context(|| format!("cannot fill {to}"))?;
    Ok(lines)
}
