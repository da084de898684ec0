//! Resources through the admin API, and what their tokens make of a change.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    administration::{Admin, answer, raw, token_with},
    support::{POLICY, Server, json},
};

#[actix_web::test]
async fn a_resource_is_made_found_changed_and_removed() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let wish = json!({
        "resource": "printer", "name": "Printer", "scopes": {"print": "Print", "scan": ""}, "owner": "bot",
        "token_format": "opaque", "token_profile": "stytch", "metadata_claims": ["team"],
        "signing_alg": "PS256", "token_lifetime": 1,
    });
    let made = admin.post("/resources", wish.clone()).await;
    assert_eq!(made.headers["location"], "/admin/v1/resources/printer");
    let etag = made.etag();
    let mut expected = wish.clone();
    expected["built_in"] = json!(false);
    assert_eq!(made.is(201), expected);
    let read = admin.get("/resources/printer").await;
    assert_eq!(read.etag(), etag);
    assert_eq!(read.is(200), expected);
    admin
        .post("/resources", wish)
        .await
        .refuses(409, Some("resource"), "already");

    let bare = admin
        .post("/resources", json!({"resource": "bare"}))
        .await
        .is(201);
    let defaults = json!({
        "resource": "bare", "name": "bare", "scopes": {}, "owner": null, "token_format": "jwt",
        "token_profile": "standard", "metadata_claims": [],
        "signing_alg": "ES256", "token_lifetime": 3600, "built_in": false,
    });
    assert_eq!(bare, defaults);

    let mut etag = etag;
    let same = admin.patch("/resources/printer", json!({})).await;
    assert_eq!(same.etag(), etag);
    for (patch, member, value) in [
        (json!({"name": "P"}), "name", json!("P")),
        (
            json!({"scopes": {"scan": null, "fax": "Fax"}}),
            "scopes",
            json!({"print": "Print", "fax": "Fax"}),
        ),
        (
            json!({"scopes": {"fax": "Send faxes", "unknown": null}}),
            "scopes",
            json!({"print": "Print", "fax": "Send faxes"}),
        ),
        (json!({"owner": null}), "owner", Value::Null),
        (json!({"owner": "single"}), "owner", json!("single")),
        (
            json!({"token_lifetime": 86400}),
            "token_lifetime",
            json!(86400),
        ),
        (
            json!({"token_format": "jwt", "token_lifetime": 60}),
            "token_format",
            json!("jwt"),
        ),
        (
            json!({"signing_alg": "EdDSA"}),
            "signing_alg",
            json!("EdDSA"),
        ),
    ] {
        expected[member] = value;
        if member == "token_format" {
            expected["token_lifetime"] = json!(60);
        }
        let changed = admin.patch("/resources/printer", patch).await;
        assert_ne!(changed.etag(), etag);
        etag = changed.etag();
        assert_eq!(changed.is(200), expected);
        assert_eq!(admin.get("/resources/printer").await.is(200), expected);
    }
    let pages = ["?limit=3", "?limit=3&cursor=6c6162"].map(|query| format!("/resources{query}"));
    let page = admin.get(&pages[0]).await.is(200);
    let names = |page: &Value| -> Vec<String> {
        let rows = page["resources"].as_array().unwrap();
        rows.iter()
            .map(|row| row["resource"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&page), ["auth-provider", "bare", "calendar"]);
    assert_eq!(page["next_cursor"], "63616c656e646172");
    let page = admin.get(&pages[1]).await.is(200);
    assert_eq!(names(&page), ["notes", "plain", "printer"]);
    let notes = json!({"note.read": "Read notes", "note.write": "Write notes"});
    assert_eq!(page["resources"][0]["scopes"], notes);

    admin.delete("/resources/printer").await.is(204);
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        let request = admin.request(method, "/resources/printer").await;
        answer(request.json(&json!({})))
            .await
            .refuses(404, None, "no resource");
    }
}

#[actix_web::test]
async fn a_resource_that_grants_need_stays_as_they_need_it() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    admin
        .delete("/resources/notes")
        .await
        .refuses(409, None, "has a grant for it");
    let less = json!({"scopes": {"note.write": null, "note.new": "New"}});
    let refused = admin.patch("/resources/notes", less.clone()).await;
    refused.refuses(409, Some("scopes"), "bot -> notes");
    let notes = admin.get("/resources/notes").await.is(200);
    assert!(
        notes["scopes"]["note.new"].is_null(),
        "nothing of it was done"
    );
    admin
        .patch("/grants/bot/notes", json!({"scopes": ["note.read"]}))
        .await
        .is(200);
    admin.patch("/resources/notes", less).await.is(200);
    for grant in ["bot", "ending"] {
        admin
            .delete(&format!("/grants/{grant}/notes"))
            .await
            .is(204);
    }
    admin.delete("/resources/notes").await.is(204);

    let many: Value = (0..100).map(|n| (format!("s{n}"), json!(""))).collect();
    let wish = json!({"resource": "many", "scopes": many});
    admin.post("/resources", wish).await.is(201);
    let refused = admin
        .patch("/resources/many", json!({"scopes": {"more": ""}}))
        .await;
    refused.refuses(409, Some("scopes"), "more than 100");
    let swapped = json!({"scopes": {"more": "", "s0": null}});
    admin.patch("/resources/many", swapped).await.is(200);
}

#[actix_web::test]
async fn who_owns_a_resource_may_ask_about_its_tokens_from_then_on() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    for owner in ["unknown", "admin2"] {
        let refused = admin
            .patch("/resources/plain", json!({"owner": owner}))
            .await;
        refused.refuses(404, Some("owner"), "make the client first");
        let wish = json!({"resource": "new", "owner": owner});
        let refused = admin.post("/resources", wish).await;
        refused.refuses(404, Some("owner"), "make the client first");
    }
    let token = server.token("single", "plain").await;
    for (owner, active) in [(json!("nobody"), true), (Value::Null, false)] {
        admin
            .patch("/resources/plain", json!({"owner": owner}))
            .await
            .is(200);
        let seen = server.introspect("nobody", &token).await;
        assert_eq!(seen["active"], active);
    }
}

async fn notes_token(server: &Server) -> (String, u64) {
    let answer = json(server.ask("bot", &[("resource", "notes")]).await).await;
    let token = answer["access_token"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"));
    (token.to_owned(), answer["expires_in"].as_u64().unwrap())
}

#[actix_web::test]
async fn a_change_counts_for_the_next_token() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    for alg in ["RS256", "PS256", "EdDSA", "ES256"] {
        admin
            .patch("/resources/notes", json!({"signing_alg": alg}))
            .await
            .is(200);
        let (token, _) = notes_token(&server).await;
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!(format!("{:?}", header.alg), alg);
        let kid = header.kid.unwrap();
        let keys = json(server.get("/jwt/jwks.json").send().await.unwrap()).await;
        let keys = keys["keys"].as_array().unwrap();
        assert!(keys.iter().any(|key| key["kid"] == *kid), "{alg}");
        assert_eq!(
            server.introspect("notes-server", &token).await["active"],
            true
        );
    }
    admin
        .patch("/resources/notes", json!({"token_format": "opaque"}))
        .await
        .is(200);
    let (token, _) = notes_token(&server).await;
    assert!(token.starts_with("m2mt_"));
    assert_eq!(
        server.introspect("notes-server", &token).await["active"],
        true
    );
    admin
        .patch("/resources/notes", json!({"token_format": "jwt"}))
        .await
        .is(200);
    assert!(notes_token(&server).await.0.starts_with("ey"));

    for lifetime in [1, 60, 7200] {
        admin
            .patch("/resources/notes", json!({"token_lifetime": lifetime}))
            .await
            .is(200);
        assert_eq!(notes_token(&server).await.1, lifetime);
    }
    admin
        .patch("/grants/bot/notes", json!({"token_lifetime": 7200}))
        .await
        .is(200);
    admin
        .patch("/resources/notes", json!({"token_lifetime": 30}))
        .await
        .is(200);
    assert_eq!(notes_token(&server).await.1, 30, "a grant only shortens");
}

#[actix_web::test]
async fn a_life_that_outlasts_the_keys_is_refused() {
    let server =
        Server::start_with(POLICY, "key_retire_time = '2h'\nkey_announce_time = '1h'").await;
    let admin = Admin::of(&server);
    let long = json!({"token_lifetime": 86400});
    let refused = admin.patch("/resources/notes", long).await;
    refused.refuses(409, Some("token_lifetime"), "");
    let opaque = json!({"token_lifetime": 86400, "token_format": "opaque"});
    admin.patch("/resources/notes", opaque).await.is(200);
    let back = json!({"token_format": "jwt"});
    let refused = admin.patch("/resources/notes", back).await;
    refused.refuses(409, Some("token_lifetime"), "");
}

#[actix_web::test]
async fn an_id_may_be_a_url() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let secret = admin.reader("caller").await;
    let token = token_with(&server, "caller", &secret).await;
    drop(token);
    for (id, path) in [
        (
            "https://notes.example/v1?x=1&y=2",
            "https%3A%2F%2Fnotes.example%2Fv1%3Fx%3D1%26y%3D2",
        ),
        ("a%2Fb", "a%252Fb"),
        ("a/b", "a%2Fb"),
        ("a%b", "a%25b"),
        ("100%25", "100%2525"),
        ("?", "%3F"),
        ("a+b", "a%2Bb"),
        ("a/../b", "a%2F..%2Fb"),
        ("a;b=c,d", "a%3Bb%3Dc%2Cd"),
        ("~.-_", "~.-_"),
        ("/", "%2F"),
        ("...", "..."),
        ("{resource}", "%7Bresource%7D"),
    ] {
        let made = admin
            .post("/resources", json!({"resource": id, "scopes": {"s": ""}}))
            .await;
        let location = made.headers["location"].to_str().unwrap().to_owned();
        assert_eq!(location, format!("/admin/v1/resources/{path}"));
        assert_eq!(made.is(201)["resource"], id);
        let found = admin.get(&format!("/resources/{path}")).await.is(200);
        assert_eq!(found["resource"], id);
        let grant = json!({"client_id": "caller", "resource": id});
        let made = admin.post("/grants", grant).await;
        let location = made.headers["location"].to_str().unwrap().to_owned();
        made.is(201);
        let grant = location.strip_prefix("/admin/v1").unwrap();
        assert_eq!(grant, format!("/grants/caller/{path}"));
        let changed = admin.patch(grant, json!({"scopes": ["s"]})).await.is(200);
        assert_eq!(changed["resource"], id);
        let listed = admin.get(&format!("/grants?resource={path}")).await.is(200);
        assert_eq!(listed["grants"].as_array().unwrap().len(), 1);

        let form = [("grant_type", "client_credentials"), ("resource", id)];
        let request = server
            .post("/oauth/token")
            .basic_auth("caller", Some(&secret));
        assert_eq!(
            request.form(&form).send().await.unwrap().status(),
            200,
            "{id}"
        );

        admin.delete(grant).await.is(204);
        admin
            .patch(&format!("/resources/{path}"), json!({"name": "n"}))
            .await
            .is(200);
        admin.delete(&format!("/resources/{path}")).await.is(204);
    }
    // As others write it: what need not be encoded is not.
    admin
        .post("/resources", json!({"resource": "urn:a:b@c$d!e*f'(g)"}))
        .await
        .is(201);
    let token = admin.token().await;
    let found = raw(&server, "GET", "/resources/urn:a:b@c$d!e*f'(g)", &token).await;
    assert!(found.starts_with("HTTP/1.1 200 "), "{found}");
    let found = raw(
        &server,
        "GET",
        "/resources/%75rn%3aa%3Ab@c$d!e*f'(g)",
        &token,
    )
    .await;
    assert!(found.starts_with("HTTP/1.1 200 "), "{found}");
}

#[actix_web::test]
async fn what_does_not_fit_is_refused_by_its_member() {
    let server = Server::start().await;
    let admin = Admin::of(&server);
    let long = json!({"resource": "x".repeat(257)}).to_string();
    let scope_129 = json!({"scopes": {"x".repeat(129): ""}}).to_string();
    let words = json!({"scopes": {"x": "y".repeat(1001)}}).to_string();
    let many: Value = (0..101).map(|n| (format!("s{n}"), json!(""))).collect();
    let many = json!({"scopes": many}).to_string();
    let both = [
        (r#"{"name": ""}"#, "name", "empty"),
        (r#"{"name": null}"#, "name", "null"),
        (r#"{"scopes": null}"#, "scopes", "null"),
        (r#"{"scopes": ["s"]}"#, "scopes", ""),
        (r#"{"scopes": {"a b": ""}}"#, "scopes", ""),
        (r#"{"scopes": {"": ""}}"#, "scopes", ""),
        (r#"{"scopes": {"a\"": ""}}"#, "scopes", ""),
        (r#"{"scopes": {"é": ""}}"#, "scopes", ""),
        (r#"{"scopes": {"s": "a\n"}}"#, "scopes", "control"),
        (r#"{"scopes": {"s": 1}}"#, "scopes", ""),
        (&scope_129, "scopes", "128"),
        (&words, "scopes", "1000"),
        (&many, "scopes", "at most 100"),
        (r#"{"owner": "a b"}"#, "owner", "client id"),
        (r#"{"owner": ""}"#, "owner", "client id"),
        (r#"{"token_format": "JWT"}"#, "token_format", "jwt"),
        (r#"{"token_format": null}"#, "token_format", ""),
        (r#"{"signing_alg": "HS256"}"#, "signing_alg", "ES256"),
        (r#"{"signing_alg": "none"}"#, "signing_alg", "ES256"),
        (r#"{"signing_alg": null}"#, "signing_alg", "null"),
        (r#"{"token_lifetime": 0}"#, "token_lifetime", "1 to 86400"),
        (
            r#"{"token_lifetime": 86401}"#,
            "token_lifetime",
            "1 to 86400",
        ),
        (r#"{"token_lifetime": "1h"}"#, "token_lifetime", ""),
        (r#"{"token_lifetime": null}"#, "token_lifetime", "null"),
        (r#"{"built_in": true}"#, "built_in", "unknown field"),
        (r#"{"owner": "bot", "owner": "bot"}"#, "owner", "duplicate"),
    ];
    let only_new = [
        (r#"{"resource": ""}"#, "resource", "256"),
        (r#"{"resource": "."}"#, "resource", "not by . or .."),
        (r#"{"resource": ".."}"#, "resource", "not by . or .."),
        (r#"{"resource": "a b"}"#, "resource", "without space"),
        (r#"{"resource": "a#b"}"#, "resource", "#"),
        (r#"{"resource": "é"}"#, "resource", "ASCII"),
        (r#"{"resource": "a\u0000"}"#, "resource", "printable"),
        (r#"{"resource": null}"#, "resource", "null"),
        (&long, "resource", "256"),
        (r#"{"scopes": {"s": null}}"#, "scopes", "null"),
    ];
    let send = async |method: Method, path: &str, body: String| {
        let request = admin.request(method, path).await;
        answer(
            request
                .header("content-type", "application/json")
                .body(body),
        )
        .await
    };
    for (body, field, part) in both.iter().chain(&only_new) {
        let with_id = if body.contains("\"resource\"") {
            (*body).to_owned()
        } else {
            format!(r#"{{"resource": "new", {}"#, &body[1..])
        };
        let refused = send(Method::POST, "/resources", with_id).await;
        refused.refuses(400, Some(field), part);
    }
    for (body, field, part) in both {
        let refused = send(Method::PATCH, "/resources/notes", body.to_owned()).await;
        refused.refuses(400, Some(field), part);
    }
    let refused = admin.post("/resources", json!({})).await;
    refused.refuses(400, None, "missing field `resource`");
    for wish in [json!({"name": "x"}), json!({})] {
        let refused = admin.patch("/resources/auth-provider", wish).await;
        refused.refuses(409, None, "built in");
    }
    admin
        .delete("/resources/auth-provider")
        .await
        .refuses(409, None, "built in");
    let taken = admin
        .post("/resources", json!({"resource": "auth-provider"}))
        .await;
    taken.refuses(409, Some("resource"), "already");
    let own = admin.get("/resources/auth-provider").await.is(200);
    assert_eq!(own["built_in"], true);
}
