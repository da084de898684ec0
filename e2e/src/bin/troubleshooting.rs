//! Prints `docs/troubleshooting.md`: `cargo run -p e2e --bin troubleshooting > docs/troubleshooting.md`.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    io::stdout().write_all(e2e::mistakes::page().as_bytes())
}
