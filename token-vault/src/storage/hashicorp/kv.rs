//! Documents in a KV engine of version 2: each is read, written and listed by its path.
//!
//! A document is one text, not an object: the server reads the numbers of an object as floating point and would round a
//! version. A write names the version that it follows (`options.cas`; 0: nothing is there), so that of two writers one learns
//! that it came too late. There is nothing else that two keys could be changed by together.

use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    hashicorp::{Answer, Server, ServerError, data},
    storage::StoreError,
};

/// How many names a server that can do so lists at once.
const PAGE: usize = 1000;

/// A folder of a KV engine.
pub(super) struct Kv {
    pub(super) server: Arc<Server>,
    pub(super) mount: String,
    pub(super) folder: String,
}

/// What stands at a path.
pub(super) struct Slot<T> {
    /// What the next write must follow: 0 when nothing is there.
    pub(super) version: u64,
    pub(super) document: Option<T>,
}

#[derive(Deserialize, Serialize)]
struct Text {
    document: String,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

#[derive(Deserialize)]
struct Read {
    data: Option<Text>,
    metadata: Version,
}

/// Whether an answer 404 says that there is nothing at a path, and not that there is no engine.
fn is_nothing(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<serde::de::IgnoredAny>,
    }
    serde_json::from_slice(body).is_ok_and(|Errors { errors }| errors.is_empty())
}

impl Kv {
    fn data(&self, path: &str) -> String {
        format!("{}/data/{}/{path}", self.mount, self.folder)
    }

    fn metadata(&self, path: &str) -> String {
        format!("{}/metadata/{}/{path}", self.mount, self.folder)
    }

    async fn text(&self, path: &str) -> Result<Slot<String>, ServerError> {
        let nothing = Slot {
            version: 0,
            document: None,
        };
        let body = match self.server.get(&self.data(path)).await? {
            Answer::Absent(body) if is_nothing(&body) => return Ok(nothing),
            // Of what was deleted by hand the metadata may be left.
            Answer::Done(body) | Answer::Absent(body) => body,
            Answer::Refused(_) => return Err(ServerError::Status(400)),
        };
        let read: Read = data(&body)?;
        Ok(Slot {
            version: read.metadata.version,
            document: read.data.map(|text| text.document),
        })
    }

    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Slot<T>, StoreError> {
        let Slot { version, document } = self.text(path).await?;
        let parse = |text: String| serde_json::from_str(&text);
        let document = document.map(parse).transpose();
        Ok(Slot {
            version,
            document: document.map_err(|_| StoreError::Corrupt { what: "document" })?,
        })
    }

    /// The new version; `None`, and nothing is written, when what is there is not version `cas`. Each document carries
    /// something random, so that a write whose answer was lost is known again.
    pub(super) async fn write(
        &self,
        path: &str,
        document: &impl Serialize,
        cas: u64,
    ) -> Result<Option<u64>, StoreError> {
        let document = serde_json::to_string(document).expect("documents are texts and numbers");
        let body = json!({"options": {"cas": cas}, "data": {"document": document}});
        let error = match self.server.post(&self.data(path), &body).await {
            Ok(Answer::Done(body)) => return Ok(Some(data::<Version>(&body)?.version)),
            Ok(Answer::Refused(_)) => ServerError::Status(400),
            Ok(Answer::Absent(_)) => ServerError::Status(404),
            Err(error) => error,
        };
        let may_be_there = match &error {
            ServerError::Status(400) => false,
            // Who may only create is told so where something is already.
            ServerError::Status(403) if cas == 0 => false,
            error if error.may_have_happened() => true,
            _ => return Err(error.into()),
        };
        let now = self.text(path).await?;
        if may_be_there && now.document.as_deref() == Some(&document) {
            return Ok(Some(now.version));
        }
        if !may_be_there && now.version != cas {
            return Ok(None);
        }
        Err(error.into())
    }

    /// A number that nobody was given before, and that is larger than all of those.
    pub(super) async fn count(&self, path: &str) -> Result<u64, StoreError> {
        match self
            .server
            .post(&self.data(path), &json!({"data": {}}))
            .await?
        {
            Answer::Done(body) => Ok(data::<Version>(&body)?.version),
            Answer::Refused(_) => Err(ServerError::Status(400).into()),
            Answer::Absent(_) => Err(ServerError::Status(404).into()),
        }
    }

    /// Before the first version: an earlier one is gone as soon as the next is written.
    pub(super) async fn keep_one_version(&self, path: &str) -> Result<(), StoreError> {
        let only_one = json!({"max_versions": 1});
        match self.server.post(&self.metadata(path), &only_one).await? {
            Answer::Done(_) => Ok(()),
            Answer::Refused(_) => Err(ServerError::Status(400).into()),
            Answer::Absent(_) => Err(ServerError::Status(404).into()),
        }
    }

    /// The names in a folder, in their order; those of folders end with a slash. OpenBao gives them page by page,
    /// HashiCorp's server all at once, whatever it is asked for.
    pub(super) async fn list(&self, path: &str) -> Result<Vec<String>, StoreError> {
        #[derive(Deserialize)]
        struct Names {
            keys: Vec<String>,
        }
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let query = format!("{path}?list=true&limit={PAGE}&after={after}");
            let keys = match self.server.get(&self.metadata(&query)).await? {
                Answer::Done(body) => data::<Names>(&body)?.keys,
                Answer::Absent(body) if is_nothing(&body) => Vec::new(),
                Answer::Absent(_) => return Err(ServerError::Status(404).into()),
                Answer::Refused(_) => return Err(ServerError::Status(400).into()),
            };
            let full = keys.len() == PAGE && !keys.contains(&after);
            all.extend(keys);
            match all.last() {
                Some(last) if full => after.clone_from(last),
                _ => break,
            }
        }
        // Without the slash: it sorts above what can follow a shorter name.
        all.sort_by(|a, b| a.trim_end_matches('/').cmp(b.trim_end_matches('/')));
        all.dedup();
        Ok(all)
    }

    /// Removes all that there is at a path, whatever its version.
    pub(super) async fn destroy(&self, path: &str) -> Result<(), StoreError> {
        match self.server.delete(&self.metadata(path)).await? {
            Answer::Done(_) | Answer::Absent(_) => Ok(()),
            Answer::Refused(_) => Err(ServerError::Status(400).into()),
        }
    }

    /// How long versions live by the engine's own configuration, as it says it; `0s`: for ever.
    pub(super) async fn delete_version_after(&self) -> Result<String, StoreError> {
        #[derive(Deserialize)]
        struct Configuration {
            delete_version_after: String,
        }
        match self.server.get(&format!("{}/config", self.mount)).await? {
            Answer::Done(body) => Ok(data::<Configuration>(&body)?.delete_version_after),
            Answer::Refused(_) | Answer::Absent(_) => Err(ServerError::Status(404).into()),
        }
    }
}
