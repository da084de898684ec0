//! The assistant: notes and a calendar that live in two services, and the tokens to get there.
//!
//! A library with one program on top of it, so that tests can hold the parts. To read it, begin
//! with [`cli`] (what can be typed) and [`commands`] (what is done then). Both they and [`ui`], the
//! terminal program, stand on [`api`]: the services as functions, each with the scope it needs; and on
//! [`lab`]: experiments with what must not work, whose requests [`wire`] makes in the open.

pub mod api;
pub mod cli;
pub mod commands;
pub mod credentials;
pub mod exchange;
pub mod failure;
pub mod lab;
pub mod output;
pub mod records;
pub mod token_view;
pub mod ui;
pub mod when;
pub mod wire;
