//! The terminal program behind `assistant start`.
//!
//! The state is a [`Model`]; [`update`] changes it for each [`Msg`] and answers with wishes, as
//! [`Effect`]s; [`view`] draws it, and says what a click would do where ([`Targets`]). Both are pure.
//! Only the runtime touches terminal and network.

mod form;
mod held;
mod keys;
mod model;
mod runtime;
mod seen;
mod trials;
mod update;
mod view;

pub use form::{Field, Form, Name, Stage};
pub use held::{Deed, Held, HeldToken, TokenState, TokenWish};
pub use keys::{Action, Choice, choices};
pub use model::{Card, Column, Doomed, Front, Model, News, Remote, Tab, TokenInUse};
pub use runtime::{Screen, check_terminal, run};
pub use seen::Seen;
pub use trials::{Trial, TrialStage, Trials};
pub use update::{Call, Effect, Msg, update};
pub use view::{Targets, view};
