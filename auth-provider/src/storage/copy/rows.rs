//! A row as both databases mean it: as values, as bytes, and as a part of its table's sum.

use std::fmt::Write;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use super::{Kind, Table};

/// What stands in one column of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// The values of a row, in the order of its table's columns.
pub type Row = Vec<Value>;

// How a value is written: what it is, then an integer in eight bytes, or a length in four and the content. All numbers
// begin with their highest byte.
const NULL: u8 = 0;
const INTEGER: u8 = 1;
const TEXT: u8 = 2;
const BYTES: u8 = 3;

impl Value {
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let (kind, content) = match self {
            Self::Null => return out.push(NULL),
            Self::Integer(number) => {
                out.push(INTEGER);
                return out.extend(number.to_be_bytes());
            }
            Self::Text(text) => (TEXT, text.as_bytes()),
            Self::Bytes(bytes) => (BYTES, bytes.as_slice()),
        };
        out.push(kind);
        let length = u32::try_from(content.len()).expect("no value of a row has 4 GiB");
        out.extend(length.to_be_bytes());
        out.extend(content);
    }

    fn read(bytes: &mut &[u8], kind: Kind) -> Option<Self> {
        let value = match (*bytes.split_off_first()?, kind) {
            (NULL, _) => Self::Null,
            (INTEGER, Kind::Integer) => Self::Integer(i64::from_be_bytes(*split_off_array(bytes)?)),
            (TEXT, Kind::Text) => Self::Text(String::from_utf8(content(bytes)?.to_vec()).ok()?),
            (BYTES, Kind::Bytes) => Self::Bytes(content(bytes)?.to_vec()),
            _ => return None,
        };
        Some(value)
    }
}

fn split_off_array<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (array, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(array)
}

fn content<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_be_bytes(*split_off_array(bytes)?) as usize;
    bytes.split_off(..length)
}

/// A row as bytes: the same for the same content, from whichever database it comes.
pub fn to_bytes(row: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in row {
        value.write(&mut bytes);
    }
    bytes
}

/// The row that these bytes are in `table`; `None` when they are none.
pub fn from_bytes(mut bytes: &[u8], table: &Table) -> Option<Row> {
    let kinds = table.columns.iter().map(|(_, kind)| *kind);
    let row = kinds
        .map(|kind| Value::read(&mut bytes, kind))
        .collect::<Option<Row>>()?;
    bytes.is_empty().then_some(row)
}

/// How many rows a table has, and the SHA-256 over its description and all its rows in the order of the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    pub rows: u64,
    /// In hexadecimal digits.
    pub sha256: String,
}

/// A [`Sum`] that grows row by row.
pub struct Summing {
    rows: u64,
    digest: digest::Context,
}

impl Summing {
    pub fn of(table: &Table) -> Self {
        let mut digest = digest::Context::new(&digest::SHA256);
        let head = serde_json::to_vec(table).expect("names and numbers are JSON");
        digest.update(&(head.len() as u64).to_be_bytes());
        digest.update(&head);
        Self { rows: 0, digest }
    }

    /// Counts a row in, as [`to_bytes`] made it.
    pub fn add(&mut self, row: &[u8]) {
        self.rows += 1;
        self.digest.update(row);
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub fn finish(self) -> Sum {
        let mut sha256 = String::new();
        for byte in self.digest.finish().as_ref() {
            write!(sha256, "{byte:02x}").expect("a text takes all that is written to it");
        }
        Sum {
            rows: self.rows,
            sha256,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::copy::tables;

    #[test]
    fn a_row_survives_as_bytes_and_nothing_else_is_taken_for_one() {
        let tables = tables();
        let keys = tables
            .iter()
            .find(|table| table.name == "client_registration");
        let table = keys.unwrap();
        for row in [
            vec![Value::Text("é\0".to_owned()), Value::Bytes(vec![0, 255])],
            vec![Value::Text(String::new()), Value::Null],
        ] {
            let bytes = to_bytes(&row);
            assert_eq!(from_bytes(&bytes, table), Some(row));
            for cut in 0..bytes.len() {
                assert_eq!(from_bytes(&bytes[..cut], table), None);
            }
            assert_eq!(from_bytes(&[&bytes[..], &[0]].concat(), table), None);
        }
        let other = [Value::Integer(i64::MIN), Value::Null];
        assert_eq!(from_bytes(&to_bytes(&other), table), None, "another kind");
        assert_eq!(
            from_bytes(&[2, 0, 0, 0, 1, 255, 0], table),
            None,
            "no UTF-8"
        );
        assert_eq!(from_bytes(&[2, 255, 255, 255, 255], table), None);
    }

    #[test]
    fn the_sum_depends_on_rows_and_on_what_the_columns_mean() {
        let [one, two] = [&tables()[0], &tables()[1]].map(|table| Summing::of(table).finish());
        assert_eq!((one.rows, one.sha256.len()), (0, 64));
        assert_ne!(one, two);
        let mut more = Summing::of(&tables()[0]);
        more.add(b"row");
        assert_ne!(more.finish().sha256, one.sha256);
    }
}
