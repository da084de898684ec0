//! Every mistake of the table is made with the programs themselves, and what they say is compared with it.

mod administration;
mod assistant;
mod own_code;
mod provider;
mod service;
mod token_request;
mod vault;
mod world;

use e2e::mistakes::{self, Mistake, Place};

/// Makes all mistakes of a place. `make` makes one, by its id, and says what was said.
async fn compare(place: Place, make: impl AsyncFn(&'static str) -> String) {
    let mut wrong = Vec::new();
    for mistake in place.mistakes() {
        let Mistake { id, says, .. } = mistake;
        let said = make(id).await;
        if !mistake.is_told_by(&said) {
            wrong.push(format!(
                "--- {id}: the table has\n{says}\n--- and it was\n{said}"
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
}

#[test]
fn the_page_is_that_of_the_table() {
    let page = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/troubleshooting.md"
    ));
    assert!(
        page == mistakes::page(),
        "docs/troubleshooting.md is old: cargo run -p e2e --bin troubleshooting > docs/troubleshooting.md"
    );
}
