//! The terminal program behind `assistant start`.
//!
//! The state is a [`Model`]; [`update`] changes it for each [`Msg`] and answers with wishes, as
//! [`Effect`]s; [`view`] draws it. Both are pure. Only the runtime touches terminal and network.

mod form;
mod keys;
mod model;
mod runtime;
mod update;
mod view;

pub use form::{Field, Form, Name, Stage};
pub use keys::{Action, Choice, choices};
pub use model::{Card, Column, Doomed, Front, Model, News, Remote, TokenInUse};
pub use runtime::{Screen, check_terminal, run};
pub use update::{Call, Effect, Msg, update};
pub use view::view;
