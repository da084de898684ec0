//! Mistakes in a request for a token.

use e2e::mistakes::Place;
use reqwest::RequestBuilder;
use serde_json::Value;

use super::{compare, world::World};
use crate::programs::command;

#[tokio::test]
async fn the_token_endpoint_says_what_the_table_has() {
    let world = World::with_provider().await;
    compare(Place::TokenRequest, async |id| made(&world, id).await).await;
}

async fn made(world: &World, id: &str) -> String {
    const FORM: &str = "application/x-www-form-urlencoded";
    const JSON: &str = "application/json";
    const GRANT: &str = "grant_type=client_credentials";
    let url = world.issuer() + "/oauth/token";
    let secret = world.secret("assistant");
    let post = || world.http.post(&url);
    let of = |client: &str| post().basic_auth(client, Some(world.secret(client)));
    let assistant = || of("assistant");
    let body = |request: RequestBuilder, media_type: &str, body: &str| {
        request
            .header("content-type", media_type)
            .body(body.to_owned())
    };
    // A good request with one more pair.
    let wishes = |more: &str| body(assistant(), FORM, &format!("{GRANT}&{more}"));
    // A good request with this secret.
    let with_secret = |secret: &str| {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "assistant"),
            ("client_secret", secret),
        ];
        post().form(&form)
    };
    let request = match id {
        "another-path" => {
            let url = url.replace("/auth/oauth/token", "/oauth2/token");
            let request = world.http.post(url).basic_auth("assistant", Some(secret));
            body(request, FORM, GRANT)
        }
        "get-a-token" => world.http.get(format!("{url}?{GRANT}")),
        "parameters-in-the-url" => {
            let request = world.http.post(format!("{url}?{GRANT}"));
            request.basic_auth("assistant", Some(secret))
        }
        "no-content-type" => assistant().body(GRANT),
        "json-as-a-form" => body(assistant(), FORM, r#"{"grant_type": "client_credentials"}"#),
        "a-form-as-json" => body(assistant(), JSON, GRANT),
        "no-grant-type" => body(assistant(), FORM, "resource=note-service"),
        "another-grant-type" => body(assistant(), FORM, "grant_type=password"),
        "no-credentials" => body(post(), FORM, GRANT),
        "bearer-for-basic" => body(post().bearer_auth(secret), FORM, GRANT),
        "credentials-twice" => with_secret(&secret).basic_auth("assistant", Some(&secret)),
        "secret-of-another-client" => with_secret(&world.secret("note-service")),
        "secret-was-taken-back" => {
            let old = of("reader");
            take_secrets_back(world, "reader");
            body(old, FORM, GRANT)
        }
        "id-and-secret-swapped" => body(post().basic_auth(secret, Some("assistant")), FORM, GRANT),
        "secret-with-a-newline" => with_secret(&(secret + "\n")),
        "no-resource" => body(assistant(), FORM, GRANT),
        "two-audiences" => wishes("resource=note-service&resource=calendar-service"),
        "resource-by-url" => wishes("resource=http://localhost:3012"),
        "no-grants" => body(of("nobody"), FORM, GRANT),
        "scope-of-another-resource" => wishes("resource=note-service&scope=calendar.read"),
        "scopes-with-commas" => wishes("resource=note-service&scope=note.read,note.write"),
        "two-spaces" => wishes("resource=note-service&scope=note.read++note.write"),
        _ => panic!("nobody makes the mistake {id}"),
    };
    world.answered(request).await
}

/// Deletes all credentials of a client, as its administrator does.
fn take_secrets_back(world: &World, client: &str) {
    let provider = world.issuer().replace("/auth", "");
    let run = |arguments: &[&str]| {
        let mut command = command("auth-provider", world.path());
        command.args(arguments).args(["--url", &provider, "--json"]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    let listed: Value = serde_json::from_slice(&run(&["credential", "list", client])).unwrap();
    for credential in listed.as_array().unwrap() {
        let id = credential["credential_id"].as_str().unwrap();
        run(&["credential", "delete", client, id, "--yes"]);
    }
}
