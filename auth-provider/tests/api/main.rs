//! The server as its callers see it: real servers on free ports, a clock that stands still.
#![expect(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod admin_clients;
mod admin_concurrency;
mod admin_credentials;
mod admin_grants;
mod admin_idempotency;
mod admin_keys;
mod admin_refusals;
mod admin_resources;
mod admin_revocations;
mod admin_rights;
mod admin_safe_to_remove;
mod administration;
mod cli;
mod discovery;
mod feed;
mod introspection;
mod layers;
mod limits;
mod opaque;
mod openapi;
mod policy;
mod process;
mod registration;
mod rotation;
mod startup;
mod store_contract;
mod store_contract_audit;
mod store_contract_graph;
mod store_contract_migration;
mod store_contract_registry;
mod support;
mod token;
mod token_refusals;
mod uses;
