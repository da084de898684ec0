//! The vault from outside: its store, its refreshing, its HTTP surface, its program.
#![expect(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod ahead;
mod at_rest;
mod broken_line;
mod emulator;
mod guide;
mod hashicorp;
mod killed;
mod layers;
mod memory_store;
mod openbao;
mod operating;
mod probing;
mod program;
mod refreshing;
mod signed;
mod simulation;
mod store_contract;
mod support;
mod surface;
mod transit;
mod world;
