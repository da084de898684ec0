//! Reading a backup, and making a provider's database, master key and clients file of it.
//!
//! The file is read twice: once to know that all of it is good, before anything is made, and once more to fill the database,
//! which nobody sees before its end.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, bail, ensure};
use m2m::Clock;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tempfile::TempPath;
use zeroize::Zeroizing;

use super::{
    key::{BackupKey, KeyName},
    records::{Head, Manifest, Reader, Record, folder_of},
    report::{Line, progress},
};
use crate::{
    audit::Action,
    cli::output::rfc_3339,
    config::Config,
    master_key::MasterKey,
    revocation::known_until,
    startup,
    storage::{
        VERSION,
        copy::{Filling, Restored, Row},
    },
};

/// What a backup holds, every byte of it read and found good.
pub(super) struct Contents {
    manifest: Manifest,
    master_key: Zeroizing<String>,
    clients_file: Option<Zeroizing<Vec<u8>>>,
    heads: Vec<Head>,
    pub(super) lines: Vec<Line>,
    key: KeyName,
}

/// Reads a backup from beginning to end.
///
/// # Errors
/// When it is not whole, not for this key, or of a newer version.
pub(super) fn read_through(file: &Path, key: &BackupKey) -> anyhow::Result<Contents> {
    let mut reader = Reader::open(file, key)?;
    let (mut manifest, mut master_key, mut clients_file) = (None, None, None);
    let (mut heads, mut lines) = (Vec::<Head>::new(), Vec::new());
    loop {
        match reader.next_record()? {
            Record::Manifest(read) => {
                ensure!(
                    read.schema <= VERSION,
                    "the backup {} is of version {} of the tables, this program has version {VERSION}: use \
                     auth-provider {} or later",
                    file.display(),
                    read.schema,
                    read.program
                );
                manifest = Some(read);
            }
            Record::MasterKey(text) => {
                MasterKey::from_config(&SecretString::from(text.as_str()))
                    .context("the backup's master key is damaged")?;
                master_key = Some(text);
            }
            Record::ClientsFile(content) => clients_file = Some(content),
            Record::Head(head) => heads.push(head),
            Record::Row(_) => {}
            Record::Sum(sum) => {
                let head = heads.last().context("a sum without a table")?;
                let table = head.table.name.clone();
                lines.push(Line { table, sum });
            }
            Record::End => break,
        }
    }
    Ok(Contents {
        manifest: manifest.context("the backup does not say what it is")?,
        master_key: master_key.context("the backup has no master key")?,
        clients_file,
        heads,
        lines,
        key: key.name(),
    })
}

impl Contents {
    pub(super) fn told(&self) -> String {
        let Manifest {
            made_at,
            program,
            schema,
            database,
        } = &self.manifest;
        let at = rfc_3339(made_at.cast_signed());
        let clients_file = if self.clients_file.is_some() {
            "and clients.json"
        } else {
            "without clients.json"
        };
        format!(
            "The backup is whole: made at {at} by auth-provider {program} from {database} (tables of version {schema}), \
             with the master key {clients_file}. Its key is {}.\n",
            self.key
        )
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "made_at": self.manifest.made_at,
            "program": self.manifest.program,
            "schema": self.manifest.schema,
            "database": self.manifest.database,
            "key": self.key.to_string(),
            "clients_file": self.clients_file.is_some(),
        })
    }
}

/// What became of clients.json.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClientsFile {
    NotInBackup,
    Written,
    /// There is one, and it may have what the backup has not.
    Kept,
}

pub(super) struct Done {
    pub(super) contents: Contents,
    at: u64,
    tokens_revoked: bool,
    clients_file: ClientsFile,
}

/// Makes everything of a backup, or nothing.
///
/// # Errors
/// When the backup is not whole, or there is a database or another master key already.
pub(super) async fn restore(
    config: &Config,
    clock: &Clock,
    file: &Path,
    key: &BackupKey,
    revoke_tokens: bool,
) -> anyhow::Result<Done> {
    let contents = read_through(file, key)?;
    startup::make_folder(&config.data_dir)?;
    let _lock = startup::lock(&config.database_url)?;
    let url = &config.database_url;
    // Made now, with its own guard: should anything fail, it goes away again.
    let master_key = place_master_key(config, &contents.master_key)?;
    let tables = contents.heads.iter().map(|head| head.table.clone());
    let mut filling = Filling::begin(url, contents.manifest.schema, tables.collect())
        .await
        .with_context(|| format!("cannot restore into {url}"))?;
    fill(&mut filling, file, key)
        .await
        .with_context(|| format!("cannot restore into {url}"))?;

    let at = clock.now();
    let made_at = rfc_3339(contents.manifest.made_at.cast_signed());
    let revoked = if revoke_tokens {
        "; all tokens were revoked"
    } else {
        ""
    };
    let explanation =
        format!("Restored from a backup of {made_at}: what was changed after it is lost{revoked}");
    let restored = Restored {
        at,
        action: Action::DatabaseRestored.as_str(),
        explanation: &explanation,
        revoke_until: revoke_tokens.then(|| known_until(at)),
    };
    filling.note(&restored).await?;
    let (state, clients_file) = place_clients_file(config, contents.clients_file.as_deref())?;
    // From here on the database may be there, even when nobody says so: its key stays. Another try takes it for its own.
    for kept in [master_key, clients_file].into_iter().flatten() {
        kept.keep()?;
    }
    let committed = filling.commit().await;
    committed.with_context(|| format!("cannot restore into {url}"))?;
    Ok(Done {
        contents,
        at,
        tokens_revoked: revoke_tokens,
        clients_file: state,
    })
}

async fn fill(filling: &mut Filling, file: &Path, key: &BackupKey) -> anyhow::Result<()> {
    let mut reader = Reader::open(file, key)?;
    let mut current: Option<Head> = None;
    let (mut batch, mut rows) = (Vec::<Row>::new(), 0);
    loop {
        match (reader.next_record()?, &current) {
            (Record::Head(head), _) => (current, rows) = (Some(head), 0),
            (Record::Row(row), Some(head)) => {
                batch.push(row);
                rows += 1;
                progress(&head.table.name, rows);
                if batch.len() == Filling::batch() {
                    filling.add(&head.table, &batch).await?;
                    batch.clear();
                }
            }
            (Record::Sum(sum), Some(head)) => {
                filling.add(&head.table, &batch).await?;
                batch.clear();
                filling.finish(&head.table, &sum, head.last_number).await?;
            }
            (Record::End, _) => return Ok(()),
            _ => {}
        }
    }
}

/// Writes the master key where the server looks for it. What is returned removes it again, unless it is kept.
fn place_master_key(config: &Config, text: &str) -> anyhow::Result<Option<TempPath>> {
    let path = config.data_dir.join("master.key");
    let (place, known) = match &config.master_key {
        Some(key) => {
            let key = Zeroizing::new(key.expose_secret().to_owned());
            ("AUTH_PROVIDER_MASTER_KEY".to_owned(), Some(key))
        }
        None => (path.display().to_string(), MasterKey::read_text(&path)?),
    };
    match known {
        Some(known) if known.trim() == text => Ok(None),
        Some(_) => bail!(
            "{place} is another master key than that of the backup: restore into an empty folder, and without \
             AUTH_PROVIDER_MASTER_KEY or with that of the backup"
        ),
        None => {
            MasterKey::write(&path, text)?;
            Ok(Some(TempPath::try_from_path(path)?))
        }
    }
}

/// As [`place_master_key`]. A file that is there stays as it is.
fn place_clients_file(
    config: &Config,
    content: Option<&Vec<u8>>,
) -> anyhow::Result<(ClientsFile, Option<TempPath>)> {
    let path = &config.clients_file;
    let Some(content) = content else {
        return Ok((ClientsFile::NotInBackup, None));
    };
    if path.symlink_metadata().is_ok() {
        return Ok((ClientsFile::Kept, None));
    }
    let write = || {
        let mut file = tempfile::Builder::new()
            .prefix(".clients")
            .tempfile_in(folder_of(path))?; // mode 0600
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path)?;
        File::open(folder_of(path))?.sync_all()?;
        TempPath::try_from_path(path)
    };
    let placed: io::Result<TempPath> = write();
    let placed = placed.with_context(|| format!("cannot write {}", path.display()))?;
    Ok((ClientsFile::Written, Some(placed)))
}

impl Done {
    pub(super) fn told(&self, config: &Config) -> String {
        let made_at = rfc_3339(self.contents.manifest.made_at.cast_signed());
        let clients_file = config.clients_file.display();
        let secrets = match self.clients_file {
            ClientsFile::Written => format!("The clients' secrets are in {clients_file}."),
            ClientsFile::Kept => format!(
                "{clients_file} was there and stays as it is: what in it does not fit, the next start makes anew."
            ),
            ClientsFile::NotInBackup => "The backup has no clients.json.".to_owned(),
        };
        let tokens = if self.tokens_revoked {
            "Every token that was issued until now is revoked: clients get new ones."
        } else {
            "Tokens that were revoked after it are valid again until they end: `--revoke-tokens` would have revoked all."
        };
        format!(
            "Restored into {}, as of {made_at}. {secrets}\nWhat was changed after that is lost: clients, secrets and \
             keys that were taken away are back. {tokens}\n",
            config.database_url
        )
    }

    pub(super) fn json(&self, config: &Config) -> Value {
        json!({
            "database": config.database_url.to_string(),
            "made_at": self.contents.manifest.made_at,
            "restored_at": self.at,
            "tokens_revoked": self.tokens_revoked,
            "clients_file_written": self.clients_file == ClientsFile::Written,
        })
    }
}
