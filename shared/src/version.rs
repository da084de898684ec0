//! The version that a program of this workspace says.

use std::sync::LazyLock;

/// The workspace's version, and in brackets the commit that it was built from, when the builder set
/// `M2M_BUILD_COMMIT`: `0.1.0 (1a2b3c4d5e6f)`. It says nothing about when and where, so that the
/// same commit makes the same program.
pub fn build_version() -> &'static str {
    static VERSION: LazyLock<String> =
        LazyLock::new(|| describe(env!("CARGO_PKG_VERSION"), option_env!("M2M_BUILD_COMMIT")));
    &VERSION
}

fn describe(version: &str, commit: Option<&str>) -> String {
    match commit {
        Some(commit) if !commit.is_empty() => format!("{version} ({commit})"),
        _ => version.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_names_its_commit_where_that_is_known() {
        assert_eq!(describe("1.2.3", None), "1.2.3");
        assert_eq!(describe("1.2.3", Some("")), "1.2.3");
        assert_eq!(
            describe("1.2.3", Some("1a2b3c4d5e6f")),
            "1.2.3 (1a2b3c4d5e6f)"
        );
        assert!(build_version().starts_with(env!("CARGO_PKG_VERSION")));
    }
}
