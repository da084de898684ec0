//! `docs/troubleshooting.md`.

use super::{Mistake, Place};

const OPENING: &str = "\
<!-- Written by `cargo run -p e2e --bin troubleshooting`, from e2e/src/mistakes. Change it there. -->

# Troubleshooting

Search this page for the message that you read. `…` stands for what is different on your machine or in your request: a
path, an id, a number. Each message was said by the programs themselves: the tests make every one of these mistakes.
";

/// The page, in Markdown.
pub fn page() -> String {
    OPENING.to_owned() + &Place::ALL.map(chapter).concat()
}

fn chapter(place: Place) -> String {
    let (title, opening) = headline(place);
    let entries: String = place.mistakes().iter().map(entry).collect();
    format!("\n## {title}\n\n{opening}\n{entries}")
}

fn headline(place: Place) -> (&'static str, &'static str) {
    match place {
        Place::Assistant => (
            "The assistant",
            "On stderr: what went wrong, and behind the arrow what to do.",
        ),
        Place::Provider => (
            "The provider's start",
            "`auth-provider` ends with one line and exit code 1, unless it says here that it goes on.",
        ),
        Place::Administration => (
            "The provider's commands",
            "`auth-provider client`, `grant`, `credential`, `policy` and the like talk to a running provider. On stderr, in one line.",
        ),
        Place::TokenRequest => (
            "The token request",
            "What `POST /auth/oauth/token` answers, written here as the status, the `error` and the `error_description` of the \
             JSON body. The body also has a `request_id`: with it an administrator finds the request in \
             `auth-provider audit`, which says more than a caller may know.",
        ),
        Place::Service => (
            "A service's 401, 403 or 503",
            "What the calendar, the notes or a service of your own answers, written here as the status, the `error` and the \
             `error_description`, which stand in the `WWW-Authenticate` header and in the JSON body. Some of it is in the \
             service's log only.",
        ),
        Place::OwnCode => (
            "A program of your own, with `m2m`",
            "What `m2m` says when a verifier or a token source is set up, before anything is sent.",
        ),
        Place::Vault => (
            "The token vault",
            "What `token-vault` answers, written here as the status, the `error` where there is one, and the `detail` of the \
             JSON body; or why it does not start. A token that is not good is refused as by any other service.",
        ),
    }
}

fn entry(mistake: &Mistake) -> String {
    let Mistake {
        title,
        made_by,
        says,
        cause,
        next,
        ..
    } = mistake;
    format!(
        "\n### {title}\n\n{made_by}\n\n```text\n{says}\n```\n\n- **Cause:** {cause}\n- **Next step:** {next}\n"
    )
}
