//! Does the provider keep its word, whatever happens to it? It is killed, its database is killed, it is starved and
//! flooded, while callers ask for mixed work and write down what it acknowledges.
//!
//! In reading order: [`ledger`] is what the provider owes, [`world`] the provider as its callers know it, [`lane`] the work
//! that they ask for and [`load`] how much of it, [`check`] holds the provider to the ledger. [`kill`] makes an experiment of
//! it, with the processes [`provider`] and [`postgres`]; so do [`hostile`], with the callers of a [`siege`], and [`memory`].
//! [`chance`] is what makes a run like the last one.

pub mod chance;
pub mod check;
mod deed;
pub mod hostile;
pub mod kill;
pub mod lane;
pub mod ledger;
pub mod load;
pub mod memory;
pub mod postgres;
pub mod provider;
pub mod siege;
pub mod world;
