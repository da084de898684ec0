//! `token-vault`: custody of the tokens that users' accounts elsewhere were opened with.
//!
//! A backend that acts at GitHub or Slack for a user hands the user's tokens over once, and from then on asks for a good
//! one whenever it needs one. The vault refreshes them ahead of their end, one request at a time over all replicas, and
//! never loses one: what is about to happen to a refresh token is on disk before it happens.
//!
//! In reading order: [`connection`] (whose token for what), [`secret`] (tokens that do not print), [`envelope`] and [`kek`]
//! (how they are sealed), [`storage`] (where they are kept), [`hashicorp`] (the server that may do both), [`provider`] (who gives
//! new ones), [`refresh`] (how none is lost on the way), [`memory`] (what need not be read again), [`vault`] (what callers may
//! do), [`http`] (how they ask).

pub mod connection;

pub mod secret;

pub mod envelope;

pub mod hashicorp;

pub mod kek;

pub mod audit;

pub mod storage;

pub mod provider;

pub mod refresh;

pub mod metrics;

pub mod journal;

pub mod memory;

mod together;

pub mod vault;

pub mod rewrap;

pub mod own_keys;

pub mod limits;

pub mod signed;

pub mod http;

mod config;

pub mod startup;

pub mod program;

mod random;

pub use config::Config;
