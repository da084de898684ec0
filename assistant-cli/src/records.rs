//! Notes and events as the two services send them.

use serde::{Deserialize, Serialize};

/// A note of the note service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Chosen by the service.
    pub id: u64,
    /// One line.
    pub title: String,
    /// Free text.
    pub description: String,
}

/// An event of the calendar service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Chosen by the service.
    pub id: u64,
    /// One line.
    pub title: String,
    /// Free text.
    pub description: String,
    /// Milliseconds since the Unix epoch.
    pub start: i64,
    /// Milliseconds since the Unix epoch, not before `start`.
    pub end: i64,
}

/// What to write into a note: all of it for a new one, what changes for one that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NoteFields {
    /// The new title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The new text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What to write into an event: all of it for a new one, what changes for one that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventFields {
    /// The new title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The new text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<i64>,
    /// Milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<i64>,
}
