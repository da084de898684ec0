//! The architecture's rules about who may know what, read from the source itself.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = |path: PathBuf| {
        if path.is_dir() {
            sources(&path)
        } else {
            vec![path]
        }
    };
    paths.flat_map(files).collect()
}

/// The files of `src/` whose code (comments and tests left out) mentions `word`.
fn mentioning(word: &str) -> Vec<String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mentions = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let mut lines = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        lines.any(|line| line.contains(word))
    };
    let found = sources(&src).into_iter().filter(mentions);
    let mut found: Vec<_> = found
        .map(|path| path.strip_prefix(&src).unwrap().display().to_string())
        .collect();
    found.sort();
    found
}

#[test]
fn only_the_surface_knows_http() {
    let beyond: Vec<_> = mentioning("actix_web")
        .into_iter()
        .filter(|file| !file.starts_with("http/"))
        .collect();
    assert_eq!(beyond, ["main.rs", "startup.rs"]);
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
fn one_module_speaks_to_a_vault_server() {
    assert_eq!(mentioning("X-Vault-Token"), ["hashicorp/mod.rs"]);
}

#[test]
fn randomness_has_one_source() {
    assert_eq!(mentioning("rand::fill"), ["random.rs"]);
}

/// A token leaves its type where it is sealed, sent to its provider, or given to its application, and nowhere else.
#[test]
fn tokens_are_exposed_in_few_places() {
    assert_eq!(
        mentioning(".expose()"),
        [
            "http/answers.rs",
            "http/older.rs",
            "provider/endpoint.rs",
            "secret.rs"
        ]
    );
}

#[test]
fn the_decision_about_a_refresh_is_a_function_of_row_and_clock() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/refresh/decide.rs");
    let code = fs::read_to_string(src).unwrap();
    for word in ["async ", "Clock", "VaultStore", "Instant"] {
        assert!(!code.contains(word), "it mentions {word}");
    }
}
