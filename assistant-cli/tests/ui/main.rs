//! The assistant from outside: keys and screens, the command line, and a real terminal.

mod commands;
mod keys;
mod screens;
mod servers;
mod terminal;
mod world;
