//! What keeps the book true: it types the commands of the tutorial into a shell, as a reader would,
//! and compares what they print with what the book says; and it follows the book's links.
//!
//! [`reference`] has the programs write the reference. [`chapter`] reads a page, [`compare`] holds two texts against each other, [`terminal`] is a
//! shell, [`reader`] is who sits before it, [`links`] looks where links lead.

pub mod chapter;
pub mod compare;
pub mod links;
pub mod reader;
pub mod reference;
pub mod terminal;
pub mod workshop;
