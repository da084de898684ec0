//! The vault from outside: its store, its refreshing, its HTTP surface, its program.

mod at_rest;
mod emulator;
mod killed;
mod memory_store;
mod probing;
mod program;
mod refreshing;
mod simulation;
mod store_contract;
mod support;
mod surface;
mod world;
