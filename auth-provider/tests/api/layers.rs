//! The architecture's rules about who may know what, read from the source itself.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn sources(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| {
            if path.is_dir() {
                sources(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// The files of `src/` whose code (comments and tests left out) mentions `word`.
fn mentioning(word: &str) -> Vec<String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found: Vec<String> = sources(&src)
        .into_iter()
        .filter(|path| {
            let text = fs::read_to_string(path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            code.lines()
                .any(|line| !line.trim_start().starts_with("//") && line.contains(word))
        })
        .map(|path| path.strip_prefix(&src).unwrap().display().to_string())
        .collect();
    found.sort();
    found
}

#[test]
fn only_the_surface_knows_http() {
    let beyond = mentioning("actix_web");
    let beyond: Vec<_> = beyond
        .iter()
        .filter(|file| !file.starts_with("http/"))
        .collect();
    assert_eq!(beyond, ["error.rs", "main.rs", "startup.rs"]);
}

#[test]
fn only_the_storage_knows_sql() {
    let beyond = mentioning("sqlx");
    assert!(
        beyond.iter().all(|file| file.starts_with("storage/")),
        "{beyond:?}"
    );
}

#[test]
fn the_policy_decides_from_its_arguments_alone() {
    for file in ["policy.rs", "policy_plan/mod.rs", "explain.rs"] {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
        let code = fs::read_to_string(src).unwrap();
        for word in ["async ", "Clock", "Store", "SystemTime", "Instant"] {
            assert!(!code.contains(word), "{file} mentions {word}");
        }
    }
}

#[test]
fn the_command_line_is_a_client_of_the_api_like_others() {
    for word in ["storage", "AuthServer", "startup"] {
        let found = mentioning(word);
        assert!(
            found.iter().all(|file| !file.starts_with("cli/")),
            "{word}: {found:?}"
        );
    }
}

/// Backups and migrations are the server's own work, like its start: they read its configuration and its database, and
/// ask nobody. SQL is none of their business either.
#[test]
fn what_opens_a_database_is_the_server_or_its_backup() {
    for word in ["storage::open", "Snapshot::open", "Filling::begin"] {
        let found = mentioning(word);
        let outside = found.iter().filter(|file| {
            !file.starts_with("storage/") && !file.starts_with("backup/") && *file != "startup.rs"
        });
        assert_eq!(outside.count(), 0, "{word}: {found:?}");
    }
    for word in ["AuthServer", "reqwest", "SELECT", "INSERT"] {
        let found = mentioning(word);
        assert!(
            found.iter().all(|file| !file.starts_with("backup/")),
            "{word}: {found:?}"
        );
    }
}

#[test]
fn randomness_has_one_source() {
    assert_eq!(mentioning("rand::fill"), ["client.rs"]);
}

#[test]
fn the_surface_decides_nothing() {
    for word in [
        "policy::decide",
        ".store.client_record",
        "signing()",
        "SecretHash",
    ] {
        let found = mentioning(word);
        assert!(
            found.iter().all(|file| !file.starts_with("http/")),
            "{word}: {found:?}"
        );
    }
}

/// Another system's endpoints look different and are the same: they are decided where all are.
#[test]
fn a_dialect_translates_and_nothing_more() {
    let words = [
        "store",
        "storage",
        "sqlx",
        ".keys",
        "keys::",
        "policy::",
        "sign(",
        "SecretHash",
    ];
    for word in words {
        let found = mentioning(word);
        assert!(
            found.iter().all(|file| !file.starts_with("http/dialects/")),
            "{word}: {found:?}"
        );
    }
}
