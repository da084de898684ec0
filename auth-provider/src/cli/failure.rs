//! How a command ends.

use std::io;

use super::output::visible;

/// A command did what it was to do; some say with the exit status what they found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    /// `policy plan --check`: the file is not what is in force.
    ChangesPending,
    /// `explain`: the client would get no token.
    NotAllowed,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::ChangesPending => 3,
            Self::NotAllowed => 4,
        }
    }
}

/// Why a command ended early. Its text is one line, and never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command cannot be carried out as it was typed.
    #[error("{0}")]
    Usage(String),
    /// The provider said no.
    #[error("the provider refused: {told}")]
    Refused {
        status: u16,
        /// What the provider says about it, and how to mend it.
        told: String,
        /// In seconds.
        retry_after: Option<u64>,
    },
    /// The request was sent, perhaps, and no answer came back.
    #[error("{0}")]
    Lost(String),
    /// Whoever read the output has gone, as `head` does. There is nobody to tell.
    #[error("the output was closed")]
    Closed,
    #[error("{}", visible(&format!("{_0:#}")))]
    Failed(anyhow::Error),
}

impl Failure {
    /// The exit status for it.
    pub fn code(&self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Usage(_) => 2,
            Self::Refused { .. } | Self::Lost(_) | Self::Failed(_) => 1,
        }
    }

    /// Whether the same request may be answered otherwise in a moment.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Lost(_) => true,
            Self::Refused { status, .. } => matches!(status, 429 | 500..),
            Self::Usage(_) | Self::Closed | Self::Failed(_) => false,
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Closed
        } else {
            Self::Failed(error.into())
        }
    }
}
