//! The vault from outside: its store, its refreshing, its HTTP surface, its program.

mod memory_store;
mod simulation;
mod store_contract;
mod support;
