//! What a caller learns about another's connections, whatever it sends: nothing.

use reqwest::Response;
use serde_json::json;

use crate::world::{ALL, World, json};

/// An answer as its caller sees it, but for what it sent itself.
async fn seen(answer: Response) -> (u16, Vec<(String, String)>, String) {
    let status = answer.status().as_u16();
    let headers = answer.headers().iter().filter(|(name, _)| *name != "date");
    let mut headers: Vec<_> = headers
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (status, headers, answer.text().await.unwrap())
}

/// Whatever names the connection of `victim` in some way, and whatever tries to leave the caller's own.
fn probes() -> Vec<String> {
    let long = "a".repeat(10 * 1024);
    let mut probes: Vec<String> = [
        // The very names.
        "/hub?user=alice&connection=acme",
        "/hub?user=alice",
        "/hub?user=alice&connection=default",
        "/hub/all?user=alice",
        "/hub/status",
        "/hub/status?user=alice",
        "/audit",
        "/audit?user=alice",
        "/audit?application=victim",
        "/audit?application=victim&user=alice",
        // The victim's name in each place.
        "/hub?user=victim%2falice&connection=acme",
        "/hub?user=victim/alice&connection=acme",
        "/hub?user=../victim/alice&connection=acme",
        "/hub?user=..%2f..%2fvictim%2falice&connection=acme",
        "/hub?user=alice&connection=../../victim/alice/hub/acme",
        "/hub?user=alice%00&connection=acme",
        "/hub?user=victim%00alice&connection=acme",
        "/hub?application=victim&user=alice&connection=acme",
        "/hub?user=alice&user=alice&connection=acme",
        "/hub?user=alice&connection=acme&connection=acme",
        "/hub?user[]=alice&connection=acme",
        "/hub?user=alice;connection=acme",
        // Other spellings that a database or a library might fold together.
        "/hub?user=ALICE&connection=acme",
        "/hub?user=alice%20&connection=acme",
        "/hub?user=%20alice&connection=acme",
        "/hub?user=alice%E2%80%8B&connection=acme",
        "/hub?user=%EF%BD%81lice&connection=acme",
        "/hub?user=a%CC%81lice&connection=acme",
        "/hub?user=%C3%A1lice&connection=acme",
        "/hub?user=alice%ff&connection=acme",
        "/hub?user=%C0%AE%C0%AE%2f&connection=acme",
        // Wildcards and injections.
        "/hub?user=%25&connection=%25",
        "/hub?user=*&connection=*",
        "/hub?user=_lice&connection=acme",
        "/hub?user=alice'--&connection=acme",
        "/hub?user='%20OR%20'1'='1&connection='%20OR%20'1'='1",
        "/hub?user=alice'%20UNION%20SELECT%20*%20FROM%20connection--&connection=acme",
        "/hub?user={\"$ne\":null}&connection=acme",
        "/hub?user=$1&connection=$2",
        // Nothing, dots, and other services.
        "/hub?user=&connection=acme",
        "/hub?user=alice&connection=",
        "/hub?connection=acme",
        "/hub?user=.&connection=.",
        "/hub?user=..&connection=..",
        "/hub?user=%2e%2e&connection=%2e%2e",
        "/hub?user=%252e%252e&connection=acme",
        "/slack?user=alice&connection=acme",
        "/slack/all?user=alice",
        "/hub%2f..%2fhub?user=alice&connection=acme",
        "/hub/../hub?user=alice&connection=acme",
        "//hub?user=alice&connection=acme",
        "/HUB?user=alice&connection=acme",
        "/hub/?user=alice&connection=acme",
        "/%68ub?user=alice&connection=acme",
        "/hub%00?user=alice&connection=acme",
        "/..?user=alice",
        "/%2e%2e/hub?user=alice",
        "/nowhere?user=alice&connection=acme",
    ]
    .map(str::to_owned)
    .to_vec();
    probes.push(format!("/hub?user={long}&connection=acme"));
    probes.push(format!("/hub?user=alice&connection={long}"));
    probes.push(format!("/{long}?user=alice&connection=acme"));
    probes.push(format!(
        "/hub?user=alice{}&connection=acme",
        "%20".repeat(250)
    ));
    probes
}

/// Each probe is sent to a vault in which the victim has connections and to one in which nobody has: no answer differs.
#[actix_web::test]
async fn a_stranger_cannot_tell_whether_there_is_anything() {
    let (full, empty) = (World::start().await, World::start().await);
    for (user, connection) in [
        ("alice", "acme"),
        ("alice", "default"),
        ("..", ".."),
        ("victim/alice", "acme"),
    ] {
        let (access, refresh) = full.provider.consent("canary");
        let body = json!({
            "user": user, "connection": connection, "access_token": access, "refresh_token": refresh,
            "expires_in": 3600,
        });
        assert_eq!(full.post("victim", "/hub", &body).await.status(), 200);
        assert_eq!(full.post("victim", "/slack", &body).await.status(), 200);
    }
    assert!(probes().len() >= 30);
    for probe in probes() {
        for method in ["GET", "DELETE"] {
            let ask = |world: &World| {
                let url = world.url(&probe);
                let request = world.http.request(method.parse().unwrap(), url);
                request.bearer_auth(world.token("stranger", ALL)).send()
            };
            let shown: String = probe.chars().take(80).collect();
            let from_full = seen(ask(&full).await.unwrap()).await;
            let from_empty = seen(ask(&empty).await.unwrap()).await;
            assert_eq!(from_full, from_empty, "{method} {shown}");
            let (status, _, body) = from_full;
            assert!(
                matches!(status, 200 | 400 | 404 | 405 | 414),
                "{method} {shown}: {status}"
            );
            assert!(
                !body.contains("canary") && !body.contains("victim"),
                "{method} {shown}: {body}"
            );
        }
    }
    // And the victim has lost nothing by it.
    let all = json(full.get("victim", "/hub/all?user=alice").await).await;
    assert_eq!(all["connections"].as_array().unwrap().len(), 2);
}

/// A stranger that stores under the same names has connections of its own.
#[actix_web::test]
async fn the_same_names_of_two_applications_are_two_connections() {
    let world = World::start().await;
    for (client, token) in [("victim", "at-victim"), ("stranger", "at-stranger")] {
        let body = json!({"user": "alice", "connection": "acme", "access_token": token});
        assert_eq!(world.post(client, "/hub", &body).await.status(), 200);
    }
    let path = "/hub?user=alice&connection=acme";
    assert_eq!(world.delete("stranger", path).await.status(), 200);
    assert_eq!(
        json(world.get("victim", path).await).await["access_token"],
        "at-victim"
    );
    assert_eq!(world.get("stranger", path).await.status(), 404);
}
