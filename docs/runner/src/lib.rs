//! What keeps the book true: it types the commands of the tutorial into a shell, as a reader would,
//! and compares what they print with what the book says.
//!
//! [`chapter`] reads a page, [`compare`] holds two texts against each other, [`terminal`] is a shell,
//! [`reader`] is who sits before it, and [`workshop`] where. [`links`] looks where links lead,
//! [`mod@reference`] has the programs write what they can say themselves.

pub mod chapter;
pub mod compare;
pub mod links;
pub mod reader;
pub mod reference;
pub mod terminal;
pub mod workshop;
