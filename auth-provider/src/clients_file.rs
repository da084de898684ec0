//! `clients.json`: where the policy's clients find their ids and secrets. The store has only hashes, so the
//! file is checked against them at every start; what no longer fits is made anew.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use anyhow::{Context, ensure};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use tracing::{info, warn};

use crate::{
    audit::{Action, Event, Origin},
    client::{ClientId, ClientRecord, ClientStatus, Secret, SecretHash},
    registry::change::{Change, Committed, NewCredential},
    storage::Store,
};

/// Makes file and store agree for `clients`. Entries of others are left as they are.
///
/// # Errors
/// When the file cannot be read or written, or the store does not answer.
pub async fn mend<'a>(
    path: &Path,
    store: &dyn Store,
    clients: impl IntoIterator<Item = &'a ClientId>,
    now: u64,
) -> anyhow::Result<()> {
    let label = &label(path);
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()); // a link stays a link
    let _one_at_a_time = lock(path)?;
    let mut entries = read(path, now)?;
    let mut made = Vec::new();
    for id in clients {
        let record = store
            .client_record(id)
            .await?
            .context("the policy was just applied")?;
        // One that was switched off accepts no secret, and needs no new one for it.
        if record.status == ClientStatus::Active && !fits(entries.get(id.as_str()), &record, now) {
            let secret = Secret::generate();
            let entry = json!({"clientId": id.as_str(), "clientSecret": secret.expose()});
            entries.insert(id.as_str().to_owned(), entry);
            made.push((record, secret));
        }
    }
    // The file first: after a crash in between, the next start finds that it does not fit and mends it.
    if !made.is_empty() {
        write(path, &entries).with_context(|| format!("cannot write {}", path.display()))?;
    }
    for (record, secret) in &made {
        let credentials = store.credentials(&record.id).await?.all;
        let mut changes: Vec<_> = credentials
            .iter()
            .filter(|credential| credential.label == *label)
            .map(|credential| Change::RemoveCredential {
                client: record.id.clone(),
                id: credential.id,
            })
            .collect();
        let new = NewCredential::of(&record.id, label, secret, now);
        let event = Event::done(Action::CredentialCreated, now, &Origin::server())
            .client(&record.id)
            .credential(&new.id)
            .explained(format!("A new secret was written to {}", path.display()));
        changes.push(Change::AddCredential(new));
        let committed = store.commit(&changes, &[event]).await?;
        ensure!(
            committed == Committed::Done,
            "somebody else changed the credentials of {}: start again",
            record.id
        );
        info!(client = %record.id, "wrote a new secret to {}", path.display());
    }
    Ok(())
}

/// The label of the credentials whose secrets stand in this file. A new secret in the file takes the place of the one
/// that was lost from it; other files, of replicas on other machines, keep theirs.
fn label(path: &Path) -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    format!("{} on {}", path.display(), host.trim())
}

/// Replicas may share the file: they mend it one after the other, and the later one finds it mended.
fn lock(path: &Path) -> anyhow::Result<File> {
    let path = path.with_extension("json.lock");
    let locked = File::create(&path).and_then(|file| file.lock().map(|()| file));
    locked.with_context(|| format!("cannot lock {}", path.display()))
}

/// The secret of `client`, as it stands in the file.
///
/// # Errors
/// When the file cannot be read or has no such entry.
pub fn secret_of(path: &Path, client: &str) -> anyhow::Result<SecretString> {
    let shown = path.display();
    let text = fs::read(path).with_context(|| {
        format!("cannot read {shown}: name the file of the running provider with --clients-file")
    })?;
    let entries: Map<String, Value> =
        serde_json::from_slice(&text).with_context(|| format!("{shown} is no JSON object"))?;
    let secret = entries
        .get(client)
        .and_then(|entry| entry["clientSecret"].as_str());
    secret
        .map(SecretString::from)
        .with_context(|| format!("{shown} has no entry `{client}` with a clientSecret"))
}

/// Whether the entry still opens the door for its client.
fn fits(entry: Option<&Value>, record: &ClientRecord, now: u64) -> bool {
    let text = |name| entry?.get(name)?.as_str();
    text("clientId") == Some(record.id.as_str())
        && text("clientSecret")
            .is_some_and(|secret| record.accepts(&SecretHash::of(secret), now).is_some())
}

/// Reads the file and sees to it that only its owner can.
fn read(path: &Path, now: u64) -> anyhow::Result<Map<String, Value>> {
    let shown = path.display();
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {shown}")),
    };
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
            .with_context(|| format!("{shown} can be read by others and cannot be changed"))?;
        warn!("{shown} could be read by others: its mode is now 0600");
    }
    serde_json::from_slice(&text).or_else(|error| {
        // What stands in it may be somebody's only copy: it is put aside, not overwritten.
        let aside = path.with_extension(format!("broken-{now}.json"));
        fs::rename(path, &aside).with_context(|| format!("cannot put {shown} aside"))?;
        warn!(
            "{shown} is no JSON object ({error}): put aside as {}",
            aside.display()
        );
        Ok(Map::new())
    })
}

/// Writes the whole file or nothing: beside it first, then in its place.
fn write(path: &Path, entries: &Map<String, Value>) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".clients")
        .tempfile_in(folder)?; // mode 0600
    let text = serde_json::to_string_pretty(entries).expect("a map of JSON values is JSON");
    writeln!(file, "{text}")?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
