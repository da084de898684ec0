//! The assistant from outside: keys and screens, the command line, and a real terminal.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod commands;
mod failures;
mod keys;
mod lab;
mod screens;
mod servers;
mod tabs;
mod terminal;
mod world;
