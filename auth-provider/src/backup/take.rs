//! Writing a backup, beside a server that runs.

use std::{fs, io, path::Path};

use anyhow::{Context, ensure};
use futures_util::TryStreamExt;
use m2m::Clock;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    key::{BackupKey, KeyName},
    records::{Head, LONGEST, Manifest, Writer},
    report::{Line, progress},
};
use crate::{
    cli::output::rfc_3339,
    config::Config,
    master_key::MasterKey,
    storage::{
        VERSION,
        copy::{Row, Snapshot, Source, Summing, Table, tables, to_bytes},
    },
};

pub(super) struct Taken {
    pub(super) lines: Vec<Line>,
    made_at: u64,
    bytes: u64,
    key: KeyName,
    has_clients_file: bool,
}

pub(super) async fn take(
    config: &Config,
    clock: &Clock,
    file: &Path,
    overwrite: bool,
    key: &BackupKey,
) -> anyhow::Result<Taken> {
    let url = &config.database_url;
    let (master_text, master) = master_key(config)?;
    // Before the first read: whatever was changed until then is in it.
    let made_at = clock.now();
    let mut snapshot = Snapshot::open(url, Source::AsItIs)
        .await
        .with_context(|| format!("cannot back up {url}"))?;
    let clients_file = read_clients_file(&config.clients_file)?;

    let mut writer = Writer::create(file, overwrite, key)?;
    writer.manifest(&Manifest {
        made_at,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        schema: VERSION,
        database: url.to_string(),
    })?;
    writer.master_key(&master_text)?;
    if let Some(content) = &clients_file {
        writer.clients_file(content)?;
    }
    let mut lines = Vec::new();
    for table in tables() {
        let last_number = snapshot.last_number(&table).await?;
        let head = Head { table, last_number };
        writer.head(&head)?;
        let table = head.table;
        let mut summing = Summing::of(&table);
        let mut rows = snapshot.rows(&table);
        while let Some(row) = rows.try_next().await? {
            if table.name == "signing_key" {
                opens(&master, &table, &row)?;
            }
            let bytes = to_bytes(&row);
            writer.row(&bytes)?;
            summing.add(&bytes);
            progress(&table.name, summing.rows());
        }
        drop(rows);
        let sum = summing.finish();
        writer.sum(&sum)?;
        lines.push(Line {
            table: table.name,
            sum,
        });
    }
    Ok(Taken {
        lines,
        made_at,
        bytes: writer.finish()?,
        key: key.name(),
        has_clients_file: clients_file.is_some(),
    })
}

/// A backup with another master key could be restored, and would be worth nothing.
fn opens(master: &MasterKey, table: &Table, row: &Row) -> anyhow::Result<()> {
    let value = |name| table.column(name).map(|at| &row[at]);
    let kid = value("kid").and_then(|kid| kid.text());
    let sealed = value("sealed_private").and_then(|sealed| sealed.bytes());
    let (Some(kid), Some(sealed)) = (kid, sealed) else {
        return Ok(());
    };
    if !sealed.is_empty() {
        let opened = master.open(sealed, kid);
        opened.context(
            "this is not the master key of this database: a backup would be worth nothing",
        )?;
    }
    Ok(())
}

fn master_key(config: &Config) -> anyhow::Result<(Zeroizing<String>, MasterKey)> {
    let path = config.data_dir.join("master.key");
    let text = if let Some(key) = &config.master_key {
        Zeroizing::new(key.expose_secret().to_owned())
    } else {
        MasterKey::read_text(&path)?.with_context(|| {
            format!(
                "there is no master key {}: name the server's folder with --data-dir, or set \
                 AUTH_PROVIDER_MASTER_KEY as for the server",
                path.display()
            )
        })?
    };
    let text = Zeroizing::new(text.trim().to_owned());
    let key = MasterKey::from_config(&SecretString::from(text.as_str()))
        .context("this server has no good master key")?;
    Ok((text, key))
}

fn read_clients_file(path: &Path) -> anyhow::Result<Option<Zeroizing<Vec<u8>>>> {
    let shown = path.display();
    match fs::read(path) {
        Ok(content) => {
            ensure!(
                content.len() <= LONGEST,
                "{shown} is longer than {LONGEST} bytes"
            );
            Ok(Some(Zeroizing::new(content)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {shown}")),
    }
}

impl Taken {
    pub(super) fn told(&self, file: &Path) -> String {
        let (at, key) = (rfc_3339(self.made_at.cast_signed()), self.key);
        let with = if self.has_clients_file {
            "the master key and clients.json"
        } else {
            "the master key; there is no clients.json"
        };
        format!(
            "{} has {} bytes, with {with}, as of {at}. Its key is {key}.\n",
            file.display(),
            self.bytes
        )
    }

    pub(super) fn json(&self, file: &Path) -> Value {
        json!({
            "file": file.display().to_string(),
            "bytes": self.bytes,
            "made_at": self.made_at,
            "key": self.key.to_string(),
            "clients_file": self.has_clients_file,
        })
    }
}
