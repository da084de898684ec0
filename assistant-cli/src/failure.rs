//! What went wrong, told to a person: a sentence, and what to do about it.
//!
//! Every error of this program ends as a [`Failure`], on the command line as in the terminal
//! program. Its [`Kind`] decides the exit code and is the `kind` of the JSON form.

use serde_json::{Value, json};

/// What a script may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything that has no kind of its own.
    Failed,
    /// The command line cannot be carried out as it is written.
    Usage,
    /// The issuer gave no token, or a service did not accept it.
    Refused,
    /// A server is not running, or cannot do its work at the moment.
    Unreachable,
    /// The thing asked for is not there.
    NotFound,
    /// An experiment of the lab did not end as its explanation says.
    Surprise,
}

impl Kind {
    /// The exit code of the process; the list in `assistant --help` is this one.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Unreachable => 4,
            Self::NotFound => 5,
            Self::Surprise => 6,
        }
    }

    /// The name in the JSON form.
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::NotFound => "not_found",
            Self::Surprise => "surprise",
        }
    }
}

/// An error as people read it. It never holds a secret or a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What sort of failure it is.
    pub kind: Kind,
    /// What happened, without a full stop.
    pub message: String,
    /// What to do next, where there is something to do.
    pub hint: Option<String>,
    /// The member of the request that a service found at fault, such as `title`.
    pub field: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            field: None,
        }
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Message and hint as one line.
    pub fn sentence(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}: {hint}", self.message),
            None => self.message.clone(),
        }
    }

    /// What `--json` prints on stderr.
    pub fn to_json(&self) -> Value {
        json!({ "error": {
            "kind": self.kind.name(),
            "message": self.message,
            "hint": self.hint,
        } })
    }
}
