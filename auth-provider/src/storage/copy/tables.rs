//! Which tables are copied, and what their columns hold. A test holds this list against the catalogues of both databases:
//! who adds a table or a column also says here what becomes of it.

use serde::{Deserialize, Serialize};

use Kind::{Bytes, Integer, Text};

/// What the values of a column are, in either database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// 64 bits, with a sign.
    Integer,
    Text,
    Bytes,
}

/// A table as it is copied. A backup holds its own description of each table: an old one is read by what it says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub name: String,
    /// Those of the primary key come first.
    pub columns: Vec<(String, Kind)>,
    /// How many columns the primary key has. It is the order in which rows are read, and never null.
    pub key: usize,
    /// The database hands out the first column's numbers, and none of them twice.
    pub numbered: bool,
}

/// Tables that belong to one database and stay there, with the reason.
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("_sqlx_migrations", "each database tells its own version"),
    (
        "sqlite_sequence",
        "SQLite's own; the last numbers are copied with their tables",
    ),
    (
        "registry_change",
        "what the servers that run now still have to hear of",
    ),
    ("lease", "which of the servers that run now does a job"),
];

/// All rows but the one that a new database has from the start.
pub(super) const FIRST_ROW: &str = "WHERE graph_version <> 1 OR used_up_to <> 0";

pub(super) const REMOVE_FIRST_ROW: &str = "DELETE FROM registry_state";

/// A name, how many columns the key has, and the columns.
type Listed = (&'static str, usize, &'static [(&'static str, Kind)]);

/// Each table after those that it refers to, as far as that is possible.
const LISTED: &[Listed] = &[
    (
        "client",
        1,
        &[
            ("id", Text),
            ("name", Text),
            ("description", Text),
            ("status", Text),
            ("created_at", Integer),
            ("metadata", Text),
            ("version", Text),
            ("updated_at", Integer),
            ("managed_by", Text),
        ],
    ),
    (
        "credential",
        1,
        &[
            ("id", Text),
            ("client_id", Text),
            ("label", Text),
            ("secret_hash", Bytes),
            ("last_four", Text),
            ("created_at", Integer),
            ("expires_at", Integer),
            ("replaces", Text),
            ("kind", Text),
        ],
    ),
    (
        "resource",
        1,
        &[
            ("id", Text),
            ("name", Text),
            ("token_lifetime", Integer),
            ("signing_alg", Text),
            ("owner", Text),
            ("token_format", Text),
            ("version", Text),
            ("token_profile", Text),
            ("metadata_claims", Text),
        ],
    ),
    (
        "resource_scope",
        2,
        &[("resource_id", Text), ("name", Text), ("description", Text)],
    ),
    (
        "client_grant",
        2,
        &[
            ("client_id", Text),
            ("resource_id", Text),
            ("scopes", Text),
            ("token_lifetime", Integer),
            ("expires_at", Integer),
            ("reason", Text),
            ("version", Text),
        ],
    ),
    (
        "client_registration",
        1,
        &[("client_id", Text), ("token_hash", Bytes)],
    ),
    (
        "signing_key",
        1,
        &[
            ("kid", Text),
            ("alg", Text),
            ("number", Integer),
            ("sealed_private", Bytes),
            ("created_at", Integer),
            ("signs_from", Integer),
            ("announce_time", Integer),
            ("retire_time", Integer),
            ("compromised_at", Integer),
        ],
    ),
    (
        "revocation",
        1,
        &[
            ("number", Integer),
            ("kind", Text),
            ("jti", Text),
            ("client_id", Text),
            ("credential", Text),
            ("resource_id", Text),
            ("kid", Text),
            ("revoked_at", Integer),
            ("expires_at", Integer),
        ],
    ),
    (
        "opaque_token",
        1,
        &[
            ("hash", Bytes),
            ("client_id", Text),
            ("resource_id", Text),
            ("scopes", Text),
            ("jti", Text),
            ("issued_at", Integer),
            ("expires_at", Integer),
        ],
    ),
    (
        "client_use",
        1,
        &[
            ("client_id", Text),
            ("last_used_at", Integer),
            ("longest_gap", Integer),
        ],
    ),
    (
        "credential_use",
        1,
        &[
            ("credential_id", Text),
            ("last_used_at", Integer),
            ("use_count", Integer),
            ("alive_until", Integer),
        ],
    ),
    (
        "unwritten_use",
        1,
        &[
            ("server", Text),
            ("known_until", Integer),
            ("taken_until", Integer),
        ],
    ),
    (
        "registry_state",
        1,
        &[
            ("one", Integer),
            ("graph_version", Integer),
            ("used_up_to", Integer),
            ("summing_up_to", Integer),
            ("summed_client", Text),
        ],
    ),
    (
        "remembered_answer",
        1,
        &[
            ("key_hash", Bytes),
            ("request_hash", Bytes),
            ("sealed_answer", Bytes),
            ("expires_at", Integer),
        ],
    ),
    (
        "audit_pack",
        1,
        &[
            ("number", Integer),
            ("first_number", Integer),
            ("first_at", Integer),
            ("last_at", Integer),
            ("actions", Integer),
            ("keys", Bytes),
            ("events", Text),
        ],
    ),
    (
        "audit_event",
        1,
        &[
            ("number", Integer),
            ("at", Integer),
            ("action", Text),
            ("outcome", Text),
            ("actor", Text),
            ("client_id", Text),
            ("resource_id", Text),
            ("credential_id", Text),
            ("jti", Text),
            ("ends_at", Integer),
            ("reason", Text),
            ("explanation", Text),
            ("request_id", Text),
            ("address", Text),
        ],
    ),
];

/// The database hands out their numbers; those of the audit log's packs are handed out with those of its events.
const NUMBERED: [&str; 2] = ["revocation", "audit_event"];

/// All that is copied.
pub fn tables() -> Vec<Table> {
    LISTED.iter().map(table).collect()
}

fn table((name, key, columns): &Listed) -> Table {
    let columns = columns
        .iter()
        .map(|(name, kind)| ((*name).to_owned(), *kind));
    Table {
        name: (*name).to_owned(),
        columns: columns.collect(),
        key: *key,
        numbered: NUMBERED.contains(name),
    }
}

impl Table {
    /// Whether the description can be put into SQL as it is: names of small letters, and a key.
    pub fn is_sound(&self) -> bool {
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        };
        is_name(&self.name)
            && self.columns.iter().all(|(name, _)| is_name(name))
            && (1..=self.columns.len()).contains(&self.key)
            && (!self.numbered || (self.key, self.columns[0].1) == (1, Integer))
    }

    /// Where a column stands in a row.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|(column, _)| column == name)
    }

    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        names.join(", ")
    }

    /// All rows, in the order of the key. `collation` is for texts: bytes are compared, as SQLite does by itself.
    pub(super) fn select(&self, collation: &str) -> String {
        let order: Vec<String> = self.columns[..self.key]
            .iter()
            .map(|(name, kind)| match kind {
                Text => format!("{name}{collation}"),
                Integer | Bytes => name.clone(),
            })
            .collect();
        let (names, table, order) = (self.names(), &self.name, order.join(", "));
        format!("SELECT {names} FROM {table} ORDER BY {order}")
    }

    /// Adds `rows` rows. `overriding` says that numbers are given although the database hands them out. `mark` begins a
    /// parameter: `$` where it has its number, `?` for SQLite, which would look for each number in the list of all.
    pub(super) fn insert(&self, rows: usize, overriding: &str, mark: char) -> String {
        let columns = self.columns.len();
        let mut sql = format!("INSERT INTO {} ({}) ", self.name, self.names());
        if self.numbered {
            sql.push_str(overriding);
        }
        sql.push_str("VALUES ");
        for row in 0..rows {
            sql.push_str(if row == 0 { "(" } else { ", (" });
            let parameters = (1..=columns).map(|column| match mark {
                '?' => mark.to_string(),
                _ => format!("{mark}{}", row * columns + column),
            });
            sql.push_str(&parameters.collect::<Vec<_>>().join(", "));
            sql.push(')');
        }
        sql
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_can_be_put_into_sql() {
        assert!(tables().iter().all(Table::is_sound));
        let bad = |change: fn(&mut Table)| {
            let mut table = tables().remove(0);
            change(&mut table);
            !table.is_sound()
        };
        assert!(bad(|table| table.name = "a; DROP TABLE b".to_owned()));
        assert!(bad(|table| table.columns[1].0 = "A".to_owned()));
        assert!(bad(|table| table.key = 0));
        assert!(bad(|table| table.key = 99));
        assert!(bad(|table| table.numbered = true), "its key is a text");
    }

    #[test]
    fn the_statements_name_every_column() {
        let mut table = table(&("t", 1, &[("n", Integer), ("a", Text)]));
        table.numbered = true;
        assert_eq!(
            table.select(" COLLATE \"C\""),
            "SELECT n, a FROM t ORDER BY n"
        );
        assert_eq!(
            table.insert(2, "OVERRIDING SYSTEM VALUE ", '$'),
            "INSERT INTO t (n, a) OVERRIDING SYSTEM VALUE VALUES ($1, $2), ($3, $4)"
        );
        let of_sqlite = "INSERT INTO t (n, a) VALUES (?, ?), (?, ?)";
        assert_eq!(table.insert(2, "", '?'), of_sqlite);
    }
}
