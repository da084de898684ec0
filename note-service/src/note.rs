//! What a note is. Every type here can only hold what the service accepts; what a caller sends is
//! read straight into them.

use m2m::service::{Line, Text, given};
use serde::{Deserialize, Serialize};

/// One line, 1 to 200 characters.
pub type Title = Line<200>;

/// Any text, up to 10,000 characters.
pub type Description = Text<10_000>;

/// A note as it is kept and answered.
#[derive(Clone, Debug, Serialize)]
pub struct Note {
    /// Chosen by the store, counting up from 1. A JavaScript number holds it exactly: that ends at
    /// 2^53, which a thousand new notes a second would reach in 285,000 years.
    pub id: u64,
    /// All the rest.
    #[serde(flatten)]
    pub content: Content,
}

/// What a note says, and what a caller sends to add one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    title: Title,
    #[serde(default)]
    description: Description,
}

/// What a caller sends to change a note: the members that change.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotePatch {
    /// Who reads a note, changes it and sends it back whole, sends its id as well.
    #[serde(deserialize_with = "given")]
    id: Option<u64>,
    #[serde(deserialize_with = "given")]
    title: Option<Title>,
    #[serde(deserialize_with = "given")]
    description: Option<Description>,
}

impl NotePatch {
    /// Whether it is meant for the note with this id.
    pub fn is_for(&self, id: u64) -> bool {
        self.id.is_none_or(|own| own == id)
    }
}

impl Content {
    /// Changes what `patch` has, and leaves the rest.
    pub fn change(&mut self, patch: NotePatch) {
        if let Some(title) = patch.title {
            self.title = title;
        }
        if let Some(description) = patch.description {
            self.description = description;
        }
    }

    /// What a new store shows.
    pub(crate) fn sample() -> Self {
        let text = str::to_owned;
        Self {
            title: text("Meeting with A").try_into().expect("a short line"),
            description: text("Discuss the project")
                .try_into()
                .expect("a short text"),
        }
    }
}
