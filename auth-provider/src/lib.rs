//! An OAuth 2.0 authorization server for machines.
//!
//! Every way to ask for a token runs through the same three steps: *authenticate* ([`clients`]), *authorize*
//! ([`policy`]), *mint* ([`tokens`], with the [`keys`]). The modules stand here in reading order.

pub mod backup;
pub mod cli;
pub mod config;
pub mod program;
pub mod startup;

pub mod http;

pub mod clients;
pub mod directory;
pub mod explain;
pub mod known_clients;
pub mod known_tokens;
pub mod limits;
pub mod minting;
pub mod policy;
pub mod tokens;

pub mod administration;
pub mod audit;
pub mod background;
pub mod contact;
pub mod expiry;

pub mod gathering;
pub mod introspection;
pub mod journal;
pub mod leases;
pub mod metrics;
pub mod own_token;
pub mod projects;
pub mod registration;
pub mod revocation;
pub mod uses;

pub mod address;
pub mod claim_names;
pub mod client;
pub mod keys;
pub mod master_key;
pub mod metadata;
pub mod resource;

pub mod built_in;
pub mod clients_file;
pub mod policy_file;
pub mod policy_plan;
pub mod policy_view;
pub mod registry;
pub mod storage;
pub mod texts;

pub mod document;
pub mod error;
pub mod json;
pub mod server;
