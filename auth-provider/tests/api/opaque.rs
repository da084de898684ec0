//! Opaque tokens: a reference that only the provider can read.

use std::time::Duration;

use m2m::ManualClock;
use serde_json::json;

use crate::support::{NOW, Server, json, stored};

#[actix_web::test]
async fn a_reference_says_nothing_and_stands_for_the_same_claims() {
    let server = Server::start().await;
    let answer = json(server.ask("courier", &[("resource", "lab")]).await).await;
    assert_eq!(
        (&answer["token_type"], &answer["expires_in"]),
        (&json!("Bearer"), &json!(3600))
    );
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!((token.len(), &token[..5]), (5 + 43 + 6, "m2mt_"));
    assert!(!token.contains('.'));

    for asker in ["lab-server", "courier", "root"] {
        let mut known = server.introspect(asker, token).await;
        assert_eq!(known["jti"].take().as_str().unwrap().len(), 45);
        let expected = json!({
            "active": true, "iss": server.issuer, "sub": "courier", "client_id": "courier",
            "aud": "lab", "scope": "lab.use", "scp": ["lab.use"],
            "iat": NOW, "nbf": NOW, "exp": NOW + 3600, "jti": null, "token_type": "Bearer",
        });
        assert_eq!(known, expected, "{asker}");
    }
    for stranger in ["notes-server", "bot", "nobody"] {
        assert_eq!(
            server.introspect(stranger, token).await,
            json!({"active": false})
        );
    }
}

#[actix_web::test]
async fn any_other_text_is_no_token() {
    let server = Server::start().await;
    let token = server.token("courier", "lab").await;
    let unknown = auth_provider::own_token::new_reference();
    let changed = (0..token.len()).map(|i| {
        let other = if token.as_bytes()[i] == b'A' {
            "B"
        } else {
            "A"
        };
        format!("{}{other}{}", &token[..i], &token[i + 1..])
    });
    let others = [
        unknown,
        format!("{token} "),
        token[..token.len() - 1].to_owned(),
        token.to_uppercase(),
    ];
    for text in changed.chain(others) {
        assert_eq!(
            server.introspect("lab-server", &text).await,
            json!({"active": false}),
            "{text}"
        );
        server.revoke("courier", &text).await;
    }
    assert_eq!(
        server.introspect("lab-server", &token).await["active"],
        true
    );
}

#[actix_web::test]
async fn a_reference_can_be_revoked_and_ends() {
    let server = Server::start().await;
    let (one, two) = (
        server.token("courier", "lab").await,
        server.token("courier", "lab").await,
    );
    server.revoke("bot", &one).await;
    assert_eq!(
        server.introspect("lab-server", &one).await["active"],
        true,
        "not bot's to revoke"
    );
    server.revoke("courier", &one).await;
    assert_eq!(
        server.introspect("lab-server", &one).await,
        json!({"active": false})
    );
    assert_eq!(server.introspect("lab-server", &two).await["active"], true);
    server.clock.advance(Duration::from_hours(1));
    assert_eq!(
        server.introspect("lab-server", &two).await,
        json!({"active": false})
    );
}

#[actix_web::test]
async fn the_store_keeps_what_it_stands_for_and_not_the_reference() {
    let server = Server::start().await;
    let token = server.token("courier", "lab").await;
    let folder = server.stop().await;
    for (path, bytes) in stored(folder.path()) {
        let holds = bytes
            .windows(token.len())
            .any(|part| part == token.as_bytes());
        assert!(!holds, "{}", path.display());
    }
    let server = Server::start_in(folder, ManualClock::at(NOW + 10)).await;
    assert_eq!(
        server.introspect("lab-server", &token).await["active"],
        true,
        "after a restart"
    );
}
