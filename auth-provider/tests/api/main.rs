//! The server as its callers see it: real servers on free ports, a clock that stands still.
#![expect(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod admin_keys;
mod admin_revocations;
mod administrator;
mod audit;
mod canary;
mod cli;
mod discovery;
mod feed;
mod introspection;
mod layers;
mod limits;
mod metrics;
mod opaque;
mod openapi;
mod policy;
mod process;
mod registration;
mod rotation;
mod startup;
mod store_contract;
mod support;
mod token;
mod token_refusals;
