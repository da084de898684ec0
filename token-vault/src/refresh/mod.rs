//! Refreshing that cannot lose.
//!
//! A refresh token that rotates is spent by being sent: once the provider has answered, the old one is good for nothing, and
//! at many providers a second use voids the whole family. So an attempt ([`attempt`]) goes in three steps, each of them one
//! commit of the store, and a crash may come anywhere:
//!
//! 1. *claim*: take the lease, and note that the refresh token is about to be spent. Of all replicas one gets it.
//! 2. *ask* the provider.
//! 3. *settle*: write what came of it, give the lease back and remove the note. New tokens are seen by nobody before that.
//!
//! Who finds a note without a lease knows that a crash came between 1 and 3: the token may have been spent. Nobody can know
//! whether it was, so it is tried once more, the audit log says so, and when the provider refuses it, the connection says why.
//! Who comes back so late that another has taken over writes nothing, but has the new tokens looked at: its own request may
//! have voided them.

mod attempt;
mod decide;
mod refresher;

pub use attempt::{Attempt, Desk, Outcome, RefreshError, attempt};
pub(crate) use attempt::{mark, millis, open_tokens};
pub use decide::{Decision, decide};
pub use refresher::{LOOK_AHEAD, Refresher};
