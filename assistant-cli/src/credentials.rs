//! Who the assistant is: its client id and secret.
//!
//! They come from the environment, or from the `clients.json` that the auth-provider writes into
//! the project root. The file is looked for in the working directory and upwards, so that the
//! assistant works from any folder of the project.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use secrecy::SecretString;
use serde::Deserialize;

use crate::failure::{Failure, Kind};

/// The entry of `clients.json` that belongs to this program.
const ENTRY: &str = "assistant";
const FILE: &str = "clients.json";
const MEND: &str = "start the provider once: `cargo run -p auth-provider` writes the file";

/// A client id with its secret, and where they were found.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The OAuth client id.
    pub client_id: String,
    /// The OAuth client secret.
    pub client_secret: SecretString,
    /// For error messages: a path, or the names of the variables.
    pub origin: String,
}

/// Where to look, in this order.
#[derive(Clone, Debug)]
pub struct Places {
    /// `ASSISTANT_CLIENT_ID`.
    pub client_id: Option<String>,
    /// `ASSISTANT_CLIENT_SECRET`.
    pub client_secret: Option<SecretString>,
    /// `--clients-file`.
    pub file: Option<PathBuf>,
    /// The folder in which the search for `clients.json` begins.
    pub folder: PathBuf,
}

impl Places {
    /// The credentials of any client whose secret is in the clients file.
    ///
    /// # Errors
    /// Says what is missing and how to get it.
    pub fn entry(&self, name: &str) -> Result<Credentials, Failure> {
        match &self.file {
            Some(file) => read(file, name),
            None => read(&search(&self.folder)?, name),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    client_id: String,
    client_secret: SecretString,
}

/// Finds the credentials, or says what is missing and how to get it.
pub fn find(places: &Places) -> Result<Credentials, Failure> {
    match (&places.client_id, &places.client_secret) {
        (Some(client_id), Some(client_secret)) => Ok(Credentials {
            client_id: client_id.clone(),
            client_secret: client_secret.clone(),
            origin: "ASSISTANT_CLIENT_ID and ASSISTANT_CLIENT_SECRET".to_owned(),
        }),
        (None, None) => places.entry(ENTRY),
        _ => Err(Failure::new(
            Kind::Usage,
            "only one of ASSISTANT_CLIENT_ID and ASSISTANT_CLIENT_SECRET is set",
        )
        .hint("set both, or none to use clients.json")),
    }
}

fn search(folder: &Path) -> Result<PathBuf, Failure> {
    folder
        .ancestors()
        .map(|folder| folder.join(FILE))
        .find(|file| file.exists())
        .ok_or_else(|| {
            let looked = format!("there is no {FILE} in {} or above it", folder.display());
            Failure::new(Kind::Failed, looked).hint(format!("{MEND} into the folder it runs in"))
        })
}

fn read(file: &Path, entry: &str) -> Result<Credentials, Failure> {
    let name = file.display();
    let text = fs::read_to_string(file).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            Failure::new(Kind::Failed, format!("there is no file {name}")).hint(MEND)
        }
        _ => Failure::new(Kind::Failed, format!("cannot read {name}: {e}")).hint(
            "it belongs to the user who started the provider, and only that user may read it",
        ),
    })?;
    let mut entries: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(&text).map_err(|e| {
            let at = format!("line {}, column {}", e.line(), e.column());
            Failure::new(Kind::Failed, format!("{name} is no JSON object ({at})")).hint(BROKEN)
        })?;
    let found = entries.remove(entry).ok_or_else(|| {
        Failure::new(Kind::Failed, format!("{name} has no entry {entry:?}")).hint(
            "the policy that the provider applied has no such client; demo/policy.toml has it",
        )
    })?;
    // serde's message would quote the value that does not fit, which may be the secret.
    let found: Entry = serde_json::from_value(found).map_err(|_| {
        let lacks = format!("{name}: {entry:?} lacks the texts clientId and clientSecret");
        Failure::new(Kind::Failed, lacks).hint(BROKEN)
    })?;
    Ok(Credentials {
        client_id: found.client_id,
        client_secret: found.client_secret,
        origin: name.to_string(),
    })
}

const BROKEN: &str = "delete it and start the provider again, it writes a new one";

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn places(folder: &Path) -> Places {
        Places {
            client_id: None,
            client_secret: None,
            file: None,
            folder: folder.to_owned(),
        }
    }

    #[test]
    fn the_file_is_found_from_any_folder_of_the_project() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::write(
            root.path().join(FILE),
            r#"{"other": 7, "assistant": {"clientId": "me", "clientSecret": "m2m_x", "new": 1}}"#,
        )
        .unwrap();
        let found = find(&places(&deep)).unwrap();
        assert_eq!(found.client_id, "me");
        assert_eq!(found.client_secret.expose_secret(), "m2m_x");
        assert!(!format!("{found:?}").contains("m2m_x"));
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let found = find(&Places {
            client_id: Some("me".to_owned()),
            client_secret: Some("m2m_x".into()),
            ..places(Path::new("/nowhere"))
        });
        assert_eq!(found.unwrap().client_id, "me");
    }

    #[test]
    fn half_of_the_credentials_is_a_mistake() {
        let half = Places {
            client_id: Some("me".to_owned()),
            ..places(Path::new("/nowhere"))
        };
        assert_eq!(find(&half).unwrap_err().kind, Kind::Usage);
    }

    #[test]
    fn each_way_a_file_can_be_wrong_says_how_to_mend_it() {
        for (text, says) in [
            ("", "is no JSON object (line 1, column 0)"),
            ("{", "is no JSON object (line 1, column 1)"),
            ("[]", "is no JSON object"),
            ("{}", "has no entry \"assistant\""),
            (r#"{"assistant": null}"#, "lacks the texts"),
            (r#"{"assistant": {"clientId": "me"}}"#, "lacks the texts"),
            (
                r#"{"assistant": {"clientId": 1, "clientSecret": "m2m_x"}}"#,
                "lacks the texts",
            ),
        ] {
            let root = tempfile::tempdir().unwrap();
            fs::write(root.path().join(FILE), text).unwrap();
            let failure = find(&places(root.path())).unwrap_err();
            assert!(failure.message.contains(says), "{text}: {failure}");
            assert!(failure.hint.is_some(), "{text}");
            assert!(!failure.sentence().contains("m2m_x"), "{failure}");
        }
        let named = Places {
            file: Some(PathBuf::from("/nowhere/c.json")),
            ..places(Path::new("/nowhere"))
        };
        let failure = find(&named).unwrap_err().sentence();
        assert!(
            failure.contains("no file /nowhere/c.json: start the provider once"),
            "{failure}"
        );
        let failure = find(&places(Path::new("/nowhere"))).unwrap_err().sentence();
        assert!(failure.contains("cargo run -p auth-provider"), "{failure}");
    }
}
