//! What is copied is what the databases have: a table or a column that is new has to be in the list.

use std::collections::{BTreeMap, BTreeSet};

use auth_provider::storage::{
    self, DatabaseUrl,
    copy::{Kind, LEFT_OUT, tables},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use super::sqlite;
use crate::store_contract::fresh_postgres_url;

/// By table: its columns with their types, those of the key in their order, and whether its numbers are handed out.
type Catalogue = BTreeMap<String, Shape>;

#[derive(Debug, Default, PartialEq)]
struct Shape {
    columns: BTreeMap<String, String>,
    key: Vec<String>,
    numbered: bool,
}

fn copied(types: [&str; 3]) -> Catalogue {
    let shape = |table: auth_provider::storage::copy::Table| {
        let name_of = |kind| match kind {
            Kind::Integer => types[0].to_owned(),
            Kind::Text => types[1].to_owned(),
            Kind::Bytes => types[2].to_owned(),
        };
        let names = table.columns[..table.key].iter();
        let shape = Shape {
            key: names.map(|(name, _)| name.clone()).collect(),
            numbered: table.numbered,
            columns: (table.columns.into_iter())
                .map(|(name, kind)| (name, name_of(kind)))
                .collect(),
        };
        (table.name, shape)
    };
    tables().into_iter().map(shape).collect()
}

#[track_caller]
fn assert_all_is_copied(mut catalogue: Catalogue, types: [&str; 3]) {
    for (table, _) in LEFT_OUT {
        catalogue.remove(*table);
    }
    let copied = copied(types);
    let names: BTreeSet<&String> = catalogue.keys().chain(copied.keys()).collect();
    for name in names {
        assert_eq!(
            catalogue.get(name),
            copied.get(name),
            "the table {name} is not the one that is copied: change `LISTED` in storage/copy/tables.rs, or put it into \
             `LEFT_OUT` with the reason"
        );
    }
}

#[actix_web::test]
async fn every_table_and_column_of_sqlite_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let url = DatabaseUrl::SqliteFile(path.clone());
    drop(storage::open(&url).await.unwrap());
    let mut database = sqlite(&path).await;
    let tables = "SELECT name, sql FROM sqlite_master WHERE type = 'table'";
    let tables = sqlx::query(tables).fetch_all(&mut database).await.unwrap();
    let mut catalogue = Catalogue::new();
    for table in tables {
        let (name, sql): (String, String) = (table.get(0), table.get(1));
        let columns = format!("SELECT name, type, pk FROM pragma_table_info('{name}') ORDER BY pk");
        let columns = sqlx::query(AssertSqlSafe(columns));
        let mut shape = Shape {
            numbered: sql.contains("AUTOINCREMENT"),
            ..Shape::default()
        };
        for column in columns.fetch_all(&mut database).await.unwrap() {
            shape.columns.insert(column.get(0), column.get(1));
            if column.get::<i64, _>(2) > 0 {
                shape.key.push(column.get(0));
            }
        }
        catalogue.insert(name, shape);
    }
    assert_all_is_copied(catalogue, ["INTEGER", "TEXT", "BLOB"]);
    database.close().await.unwrap();
}

#[actix_web::test]
async fn every_table_and_column_of_postgresql_is_copied() {
    let Some(url) = fresh_postgres_url().await else {
        return;
    };
    drop(storage::open(&url.parse().unwrap()).await.unwrap());
    let mut database = PgConnection::connect(&url).await.unwrap();
    let columns = "
        SELECT c.table_name::text, c.column_name::text, c.data_type::text, c.is_identity = 'YES',
               COALESCE(array_position(i.indkey::smallint[], c.ordinal_position::smallint), -1) AS place
        FROM information_schema.columns c
        LEFT JOIN pg_index i ON i.indrelid = to_regclass(c.table_name) AND i.indisprimary
        WHERE c.table_schema = current_schema() ORDER BY place";
    let mut catalogue = Catalogue::new();
    for column in sqlx::query(columns).fetch_all(&mut database).await.unwrap() {
        let shape = catalogue.entry(column.get(0)).or_default();
        shape.columns.insert(column.get(1), column.get(2));
        shape.numbered |= column.get::<bool, _>(3);
        if column.get::<i32, _>(4) >= 0 {
            shape.key.push(column.get(1));
        }
    }
    assert_all_is_copied(catalogue, ["bigint", "text", "bytea"]);
}
