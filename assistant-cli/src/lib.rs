//! The assistant: notes and a calendar that live in two services, and the tokens to get there.
//!
//! A library with one program on top of it, so that tests can hold the parts. In reading order:

pub mod api;
pub mod cli;
pub mod commands;
pub mod credentials;
pub mod failure;
pub mod output;
pub mod records;
pub mod token_view;
pub mod ui;
pub mod when;
