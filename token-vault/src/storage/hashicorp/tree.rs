//! The connections of a store in the order of their paths, as far as they are asked for: a folder of users for each application,
//! of services for each user, of accounts for each service.

use std::collections::VecDeque;

use super::{kv::Kv, names::Parts};
use crate::storage::StoreError;

/// The folder of all connections.
pub(super) const ROOT: &str = "connections";

const LEVELS: usize = 4;

/// The path of a connection.
pub(super) fn path(parts: &Parts) -> String {
    format!("{ROOT}/{}", parts.join("/"))
}

/// A walk. One folder of each level is in memory, never the tree.
pub(super) struct Walk<'a> {
    kv: &'a Kv,
    /// On the levels where only one part is asked for, that part.
    only: [Option<String>; LEVELS],
    /// Where a walk before this one ended.
    after: Option<Parts>,
    /// What is left of the folders on the way down.
    left: Vec<VecDeque<String>>,
    /// The parts above the last of those folders.
    above: Vec<String>,
    begun: bool,
}

impl<'a> Walk<'a> {
    /// Paths after `after` whose parts are those in `only`.
    pub(super) fn new(kv: &'a Kv, only: [Option<String>; LEVELS], after: Option<Parts>) -> Self {
        Self {
            kv,
            only,
            after,
            left: Vec::new(),
            above: Vec::new(),
            begun: false,
        }
    }

    /// All paths.
    pub(super) fn all(kv: &'a Kv) -> Self {
        Self::new(kv, [const { None }; LEVELS], None)
    }

    /// At most so many paths; none when there are no more.
    pub(super) async fn next(&mut self, most: usize) -> Result<Vec<String>, StoreError> {
        if !self.begun {
            self.begun = true;
            let top = self.folder().await?;
            self.left.push(top);
        }
        let mut paths = Vec::new();
        while paths.len() < most
            && let Some(folder) = self.left.last_mut()
        {
            let Some(name) = folder.pop_front() else {
                self.left.pop();
                self.above.pop();
                continue;
            };
            if self.left.len() == LEVELS {
                paths.push(format!("{ROOT}/{}/{name}", self.above.join("/")));
            } else {
                self.above.push(name);
                let folder = self.folder().await?;
                self.left.push(folder);
            }
        }
        Ok(paths)
    }

    /// What is asked for of the folder at `above`.
    async fn folder(&self) -> Result<VecDeque<String>, StoreError> {
        let level = self.above.len();
        let names = if let Some(name) = &self.only[level] {
            vec![name.clone()]
        } else {
            let folder = [&[ROOT.to_owned()], self.above.as_slice()].concat();
            let is_last = level + 1 == LEVELS;
            let names = self.kv.list(&folder.join("/")).await?;
            names
                .into_iter()
                .filter(|name| name.ends_with('/') != is_last)
                .map(|name| name.trim_end_matches('/').to_owned())
                .collect()
        };
        // Only the folders on the way to where the walk before ended are cut off there.
        let Some(after) = self
            .after
            .as_ref()
            .filter(|after| after[..level] == self.above)
        else {
            return Ok(names.into());
        };
        let is_left = |name: &String| match level + 1 {
            LEVELS => *name > after[level],
            _ => *name >= after[level],
        };
        Ok(names.into_iter().filter(is_left).collect())
    }
}
