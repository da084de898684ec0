//! What is in a backup, record by record: what it is, the files, then each table with its rows and its sum.
//!
//! A record is a byte that says what it is, its length in four bytes, and its content. In this order:
//!
//! ```text
//! M  what this is, as JSON          once
//! K  the master key                 once
//! C  clients.json, as it stands     at most once
//! T  a table, as JSON               then for each table:
//! R    a row                          as many as it has
//! S    how many they were, and their sum
//! E  how many tables there were     once, and nothing after it
//! ```

use std::{
    fs::File,
    io::{self, BufReader, BufWriter},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, ensure};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use super::{
    key::BackupKey,
    seal::{Opening, SealError, Sealing},
};
use crate::storage::copy::{Row, Sum, Summing, Table, from_bytes};

/// No record is longer: of what is kept, only `clients.json` can grow.
pub(super) const LONGEST: usize = 16 * 1024 * 1024;

/// What a backup says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Seconds since the epoch.
    pub made_at: u64,
    /// The version of the program that made it.
    pub program: String,
    /// The version of the tables.
    pub schema: i64,
    /// Where it was read from, without a password.
    pub database: String,
}

/// A table, and how far its numbers went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Head {
    pub table: Table,
    /// The last number that was handed out; `None` where the database hands out none.
    pub last_number: Option<i64>,
}

/// One record, checked.
pub enum Record {
    Manifest(Manifest),
    MasterKey(Zeroizing<String>),
    ClientsFile(Zeroizing<Vec<u8>>),
    Head(Head),
    /// Of the last table that was named.
    Row(Row),
    /// The rows of that table were these.
    Sum(Sum),
    End,
}

/// A backup that is being written. Its file has its name when it is whole, and on disk.
pub struct Writer {
    sealing: Sealing<BufWriter<NamedTempFile>>,
    path: PathBuf,
    overwrite: bool,
    tables: u32,
}

impl Writer {
    pub fn create(path: &Path, overwrite: bool, key: &BackupKey) -> anyhow::Result<Self> {
        let shown = path.display();
        let is_free = || overwrite || path.symlink_metadata().is_err();
        ensure!(
            is_free(),
            "{shown} is there already: name another file, or say --force"
        );
        ensure!(!path.is_dir(), "{shown} is a folder: name a file in it");
        let file = tempfile::Builder::new()
            .prefix(".backup")
            .tempfile_in(folder_of(path)); // mode 0600
        let cannot_write = || format!("cannot write {shown}");
        let file = BufWriter::new(file.with_context(cannot_write)?);
        Ok(Self {
            sealing: Sealing::begin(file, key).with_context(cannot_write)?,
            path: path.to_owned(),
            overwrite,
            tables: 0,
        })
    }

    fn put(&mut self, kind: u8, content: &[u8]) -> anyhow::Result<()> {
        ensure!(
            content.len() <= LONGEST,
            "a part of it is longer than {LONGEST} bytes"
        );
        let length = u32::try_from(content.len()).expect("16 MiB fit");
        let mut put = |bytes: &[u8]| self.sealing.write(bytes);
        put(&[kind])
            .and_then(|()| put(&length.to_be_bytes()))
            .and_then(|()| put(content))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn put_json(&mut self, kind: u8, content: &impl Serialize) -> anyhow::Result<()> {
        self.put(kind, &serde_json::to_vec(content)?)
    }

    pub fn manifest(&mut self, manifest: &Manifest) -> anyhow::Result<()> {
        self.put_json(b'M', manifest)
    }

    pub fn master_key(&mut self, text: &str) -> anyhow::Result<()> {
        self.put(b'K', text.as_bytes())
    }

    pub fn clients_file(&mut self, content: &[u8]) -> anyhow::Result<()> {
        self.put(b'C', content)
    }

    pub fn head(&mut self, head: &Head) -> anyhow::Result<()> {
        self.tables += 1;
        self.put_json(b'T', head)
    }

    /// A row as [`to_bytes`](crate::storage::copy::to_bytes) made it.
    pub fn row(&mut self, row: &[u8]) -> anyhow::Result<()> {
        self.put(b'R', row)
    }

    pub fn sum(&mut self, sum: &Sum) -> anyhow::Result<()> {
        self.put_json(b'S', sum)
    }

    /// Brings it to disk and gives it its name. Says how many bytes it has.
    pub fn finish(mut self) -> anyhow::Result<u64> {
        let tables = self.tables;
        self.put_json(b'E', &tables)?;
        let Self {
            sealing,
            path,
            overwrite,
            ..
        } = self;
        let persist = || {
            let file = sealing.finish()?;
            let file = file.into_inner().map_err(io::Error::from)?;
            file.as_file().sync_all()?;
            let length = file.as_file().metadata()?.len();
            if overwrite {
                file.persist(&path)?;
            } else {
                file.persist_noclobber(&path)?;
            }
            File::open(folder_of(&path))?.sync_all()?;
            Ok::<_, io::Error>(length)
        };
        persist().with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Where a file is.
pub(super) fn folder_of(path: &Path) -> &Path {
    let folder = path.parent();
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// A backup that is being read. What it hands out is what was written, in its order; that it is all of it shows at
/// [`Record::End`].
pub struct Reader {
    opening: Opening<BufReader<File>>,
    shown: String,
    /// The last record's kind.
    before: u8,
    table: Option<(Table, Summing)>,
    tables: u32,
}

impl Reader {
    pub fn open(path: &Path, key: &BackupKey) -> anyhow::Result<Self> {
        let shown = format!("the backup {}", path.display());
        let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
        let opening = Opening::begin(BufReader::new(file), key).with_context(|| shown.clone())?;
        Ok(Self {
            opening,
            shown,
            before: 0,
            table: None,
            tables: 0,
        })
    }

    /// The next record.
    ///
    /// # Errors
    /// When it was changed, is out of its order, or does not fit to what was before it.
    pub fn next_record(&mut self) -> anyhow::Result<Record> {
        let (kind, content) = self.read().with_context(|| self.shown.clone())?;
        self.record(kind, &content)
            .ok_or_else(|| anyhow!("{} is not as this program makes it", self.shown))
    }

    fn read(&mut self) -> Result<(u8, Zeroizing<Vec<u8>>), SealError> {
        let mut head = [0; 5];
        self.opening.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = (u32::from_be_bytes(length) as usize).min(LONGEST + 1);
        let mut content = Zeroizing::new(vec![0; length]);
        self.opening.read_exact(&mut content)?;
        Ok((kind, content))
    }

    fn record(&mut self, kind: u8, content: &[u8]) -> Option<Record> {
        let in_order = matches!(
            (self.before, kind),
            (0, b'M')
                | (b'M', b'K')
                | (b'K', b'C')
                | (b'K' | b'C' | b'S', b'T')
                | (b'T' | b'R', b'R' | b'S')
                | (b'S', b'E')
        );
        if !in_order || content.len() > LONGEST {
            return None;
        }
        self.before = kind;
        let record = match kind {
            b'M' => Record::Manifest(serde_json::from_slice(content).ok()?),
            b'K' => Record::MasterKey(Zeroizing::new(String::from_utf8(content.to_vec()).ok()?)),
            b'C' => Record::ClientsFile(Zeroizing::new(content.to_vec())),
            b'T' => {
                let head: Head = serde_json::from_slice(content).ok()?;
                let is_sound =
                    head.table.is_sound() && head.table.numbered == head.last_number.is_some();
                let summing = Summing::of(&head.table);
                self.table = is_sound.then(|| (head.table.clone(), summing));
                self.table.as_ref()?;
                self.tables += 1;
                Record::Head(head)
            }
            b'R' => {
                let (table, summing) = self.table.as_mut()?;
                summing.add(content);
                Record::Row(from_bytes(content, table)?)
            }
            b'S' => {
                let sum: Sum = serde_json::from_slice(content).ok()?;
                let (_, summing) = self.table.take()?;
                (summing.finish() == sum).then_some(Record::Sum(sum))?
            }
            _ => {
                let tables: u32 = serde_json::from_slice(content).ok()?;
                (tables == self.tables && self.opening.is_at_end()).then_some(Record::End)?
            }
        };
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::copy::{Value, tables, to_bytes};

    /// What stands before the tables.
    fn begin(path: &Path, key: &BackupKey) -> Writer {
        let mut writer = Writer::create(path, true, key).unwrap();
        let manifest = Manifest {
            made_at: 1,
            program: "0".to_owned(),
            schema: 1,
            database: "sqlite:a".to_owned(),
        };
        writer.manifest(&manifest).unwrap();
        writer.master_key("text").unwrap();
        writer
    }

    fn table(writer: &mut Writer, rows: u64) {
        let tables = tables();
        let found = tables.into_iter().find(|table| table.name == "client_use");
        let table = found.unwrap();
        let row = [
            Value::Text("a".to_owned()),
            Value::Integer(1),
            Value::Integer(2),
        ];
        let row = to_bytes(&row);
        let mut summing = Summing::of(&table);
        let last_number = None;
        writer.head(&Head { table, last_number }).unwrap();
        for _ in 0..2 {
            writer.row(&row).unwrap();
        }
        (0..rows).for_each(|_| summing.add(&row));
        writer.sum(&summing.finish()).unwrap();
    }

    fn read(path: &Path, key: &BackupKey) -> anyhow::Result<usize> {
        let mut reader = Reader::open(path, key)?;
        let mut records = 0;
        while !matches!(reader.next_record()?, Record::End) {
            records += 1;
        }
        Ok(records)
    }

    #[test]
    fn only_the_whole_in_its_order_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b");
        let key = BackupKey::generate();
        let written = |write: fn(&mut Writer)| {
            let mut writer = begin(&path, &key);
            write(&mut writer);
            writer.finish().unwrap();
            read(&path, &key)
        };
        let good = written(|writer| {
            writer.clients_file(b"{}").unwrap();
            table(writer, 2);
            table(writer, 2);
        });
        assert_eq!(good.unwrap(), 3 + 2 * 4);
        let bad: [fn(&mut Writer); 8] = [
            |_| {},
            |writer| table(writer, 1),
            |writer| table(writer, 3),
            |writer| writer.master_key("another").unwrap(),
            |writer| {
                table(writer, 2);
                writer.clients_file(b"{}").unwrap();
            },
            |writer| {
                table(writer, 2);
                writer.row(b"").unwrap();
            },
            |writer| {
                table(writer, 2);
                writer.put(b'E', b"1").unwrap();
            },
            |writer| {
                table(writer, 2);
                writer.tables = 2;
            },
        ];
        for (number, write) in bad.into_iter().enumerate() {
            let error = format!("{:#}", written(write).unwrap_err());
            assert!(
                error.contains("is not as this program"),
                "{number}: {error}"
            );
        }
    }

    #[test]
    fn a_backup_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b");
        drop(begin(&path, &BackupKey::generate()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
