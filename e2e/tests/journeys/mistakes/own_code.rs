//! Mistakes in programs with `m2m`.

use std::time::Duration;

use e2e::mistakes::Place;
use m2m::{Revocation, TokenSource, Verifier, verify::Feed};

use super::compare;

const ISSUER: &str = "https://auth.example.com/auth";

#[tokio::test]
async fn the_library_says_what_the_table_has() {
    compare(Place::OwnCode, async |id| made(id)).await;
}

fn made(id: &str) -> String {
    let verifier = || Verifier::builder(ISSUER).audience("notes");
    let source = |issuer: &str, secret: &str| TokenSource::client_secret(issuer, "notes", secret);
    let error = match id {
        "verifier-without-audience" => Verifier::builder(ISSUER).build().err(),
        "issuer-without-scheme" => Verifier::builder("auth.example.com")
            .audience("notes")
            .build()
            .err(),
        "issuer-with-a-newline" => source(&format!("{ISSUER}\n"), "m2m_x").err(),
        "source-with-a-newline" => source(ISSUER, "m2m_x\n").err(),
        "feed-without-credentials" => verifier()
            .revocation(Revocation::Feed(Feed::default()))
            .build()
            .err(),
        "too-much-leeway" => verifier().leeway(Duration::from_mins(5)).build().err(),
        _ => panic!("nobody makes the mistake {id}"),
    };
    error.unwrap().to_string()
}
