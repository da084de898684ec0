//! Requests with a good token that are refused all the same. Nothing a caller sends ends in a 500.

use serde_json::{Value, json};

use super::{Calendar, header, ok, refused};

/// The member at fault (none: it is the whole), a word of the explanation, and the body of the
/// POST.
#[rustfmt::skip]
const BAD_EVENTS: [(&str, &str, &str); 43] = [
    ("", "no JSON object", ""),
    ("", "EOF", "{"),
    ("", "expected an object", "null"),
    ("", "expected an object", "1"),
    ("", "expected an object", "\"x\""),
    ("", "expected an object", "[]"),
    ("", "expected an object", r#"["x", "", 0, 0]"#),
    ("", "trailing characters", r#"{"title": "x", "start": 0, "end": 0} x"#),
    ("", "trailing comma", r#"{"title": "x", "start": 0, "end": 0,}"#),
    ("", "key must be a string", "{'title': 'x'}"),
    ("", "hex escape", r#"{"title": "\ud800", "start": 0, "end": 0}"#),
    ("", "out of range", r#"{"title": "x", "start": 1e999, "end": 0}"#),
    ("", "invalid number", r#"{"title": "x", "start": 01, "end": 0}"#),
    ("", "expected value", r#"{"title": "x", "start": NaN, "end": 0}"#),
    ("", "missing field `title`", "{}"),
    ("", "missing field `title`", r#"{"start": 0, "end": 0}"#),
    ("", "missing field `start`", r#"{"title": "x", "end": 0}"#),
    ("", "missing field `end`", r#"{"title": "x", "start": 0}"#),
    ("title", "empty", r#"{"title": "", "start": 0, "end": 0}"#),
    ("title", "empty", r#"{"title": " \t\n ", "start": 0, "end": 0}"#),
    ("title", "null", r#"{"title": null, "start": 0, "end": 0}"#),
    ("title", "expected a string", r#"{"title": 7, "start": 0, "end": 0}"#),
    ("title", "expected a string", r#"{"title": ["x"], "start": 0, "end": 0}"#),
    ("title", "expected a string", r#"{"title": {"a": 1}, "start": 0, "end": 0}"#),
    ("title", "control", r#"{"title": "a\nb", "start": 0, "end": 0}"#),
    ("title", "control", r#"{"title": "a\u0000b", "start": 0, "end": 0}"#),
    ("title", "control", r#"{"title": "a\u001b[2Jb", "start": 0, "end": 0}"#),
    ("title", "duplicate", r#"{"title": "x", "title": "y", "start": 0, "end": 0}"#),
    ("description", "null", r#"{"title": "x", "description": null, "start": 0, "end": 0}"#),
    ("description", "a string", r#"{"title": "x", "description": 1, "start": 0, "end": 0}"#),
    ("start", "null", r#"{"title": "x", "start": null, "end": 0}"#),
    ("start", "expected a JSON number", r#"{"title": "x", "start": "0", "end": 0}"#),
    ("start", "expected a JSON number", r#"{"title": "x", "start": true, "end": 0}"#),
    ("start", "whole milliseconds", r#"{"title": "x", "start": -1, "end": 0}"#),
    ("start", "whole milliseconds", r#"{"title": "x", "start": 0.5, "end": 1}"#),
    ("end", "whole milliseconds", r#"{"title": "x", "start": 0, "end": 253402300800000}"#),
    ("end", "whole milliseconds", r#"{"title": "x", "start": 0, "end": 1e300}"#),
    ("end", "whole milliseconds", r#"{"title": "x", "start": 0, "end": 18446744073709551616}"#),
    ("end", "a JSON number", r#"{"title": "x", "start": 0, "end": "2030-01-01T00:00:00Z"}"#),
    ("end", "before it starts", r#"{"title": "x", "start": 1, "end": 0}"#),
    ("id", "unknown field", r#"{"title": "x", "start": 0, "end": 0, "id": 9}"#),
    ("Title", "unknown field", r#"{"title": "x", "start": 0, "end": 0, "Title": "y"}"#),
    ("__proto__", "unknown field", r#"{"title": "x", "start": 0, "end": 0, "__proto__": {}}"#),
];

/// The same for a PUT of the sample event.
const BAD_CHANGES: [(&str, &str, &str); 11] = [
    ("", "no JSON object", ""),
    ("", "expected an object", "[]"),
    ("title", "null", r#"{"title": null}"#),
    ("description", "null", r#"{"description": null}"#),
    ("start", "null", r#"{"start": null}"#),
    ("end", "null", r#"{"end": null}"#),
    ("title", "empty", r#"{"title": ""}"#),
    ("id", "not the one in the path", r#"{"id": 2}"#),
    ("id", "does not fit", r#"{"id": "1"}"#),
    ("end", "before it starts", r#"{"end": 0}"#),
    ("end", "before it starts", r#"{"start": 253402300799999}"#),
];

#[tokio::test]
async fn a_body_that_does_not_fit_is_refused_and_changes_nothing() {
    let calendar = Calendar::start().await;
    let before = ok(calendar.request("GET", "/event")).await;
    let posts = BAD_EVENTS.map(|row| ("POST", "/event", row));
    let puts = BAD_CHANGES.map(|row| ("PUT", "/event/1", row));
    for (method, path, (field, says, body)) in posts.into_iter().chain(puts) {
        let request = calendar.request(method, path).body(body);
        let (status, problem) = refused(request.header("content-type", "application/json")).await;
        let seen = format!("{method} {body}: {problem}");
        assert_eq!(status, 400, "{seen}");
        assert_eq!(problem["field"].as_str().unwrap_or(""), field, "{seen}");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{seen}");
    }
    assert_eq!(ok(calendar.request("GET", "/event")).await, before);
}

#[tokio::test]
#[rustfmt::skip]
async fn bodies_of_the_wrong_size_type_or_encoding_are_refused() {
    let calendar = Calendar::start().await;
    let event = |title: usize, description: usize| {
        let (title, description) = ("x".repeat(title), "x".repeat(description));
        json!({"title": title, "description": description, "start": 0, "end": 0}).to_string()
    };
    let json = "application/json";
    for (what, status, content_type, body) in [
        ("a title of 201 characters", 400, json, event(201, 0).into()),
        ("a description of 10,001", 400, json, event(1, 10_001).into()),
        ("an abyss", 400, json, format!("{{\"title\": {}", "[".repeat(60_000)).into()),
        ("Latin-1", 400, json, b"{\"title\": \"\xe9\", \"start\": 0, \"end\": 0}".to_vec()),
        ("UTF-16", 400, json, b"\xff\xfe{\0}\0".to_vec()),
        ("a byte order mark", 400, json, b"\xef\xbb\xbf{}".to_vec()),
        ("65 KiB", 413, json, event(1, 65 * 1024).into()),
        ("declared Latin-1", 415, "application/json; charset=latin1", event(1, 1).into()),
        ("a form", 415, "application/x-www-form-urlencoded", b"title=x".to_vec()),
        ("plain text", 415, "text/plain", event(1, 1).into()),
        ("no type", 415, "", event(1, 1).into()),
    ] {
        for (method, path) in [("POST", "/event"), ("PUT", "/event/1")] {
            let request = calendar.request(method, path).header("content-type", content_type);
            let (got, problem) = refused(request.body(body.clone())).await;
            assert_eq!(got, status, "{method} {what}: {problem}");
        }
    }
}

#[tokio::test]
#[rustfmt::skip]
async fn a_query_that_cannot_be_meant_is_refused() {
    let calendar = Calendar::start().await;
    for query in [
        "limit=0", "limit=1001", "limit=-1", "limit=%2B1", "limit=ten", "limit=1e2", "limit=",
        "limit", "limit=99999999999999999999", "limit=1&limit=1", "after=-1", "after=1.5", "after=%00",
        "after=%ff", "after=18446744073709551616", "after=1&after=1", "page=2", "LIMIT=2",
        "limit=1&x=",
    ] {
        let (status, problem) = refused(calendar.request("GET", &format!("/event?{query}"))).await;
        assert_eq!(status, 400, "{query}: {problem}");
    }
}

#[tokio::test]
#[rustfmt::skip]
async fn a_path_that_names_no_event_is_not_found() {
    let calendar = Calendar::start().await;
    for path in [
        "/", "/events", "/Event", "/event/", "/event/1/", "/event//1", "/event/abc", "/event/-1",
        "/event/+1", "/event/0", "/event/01", "/event/1.0", "/event/1e0", "/event/0x1",
        "/event/%201", "/event/%00", "/event/%ff", "/event/1;x", "/event/٣", "/event/12345678901234567890",
    ] {
        let (status, _) = refused(calendar.request("DELETE", path)).await;
        assert_eq!(status, 404, "{path}");
    }
    // What is spelled like an id is looked for, also beyond 2^53.
    for path in ["/event/2", "/event/9007199254740993", "/event/9999999999999999"] {
        let (status, problem) = refused(calendar.request("PUT", path).json(&json!({}))).await;
        assert_eq!((status, &problem["detail"]), (404, &json!("there is no event with this id")));
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let calendar = Calendar::start().await;
    for (path, allow, methods) in [
        ("/event", "GET, HEAD, POST", ["PUT", "PATCH", "DELETE"]),
        ("/event/1", "DELETE, PUT", ["GET", "HEAD", "POST"]),
    ] {
        for method in methods.into_iter().chain(["OPTIONS", "TRACE", "BREW"]) {
            let response = calendar.request(method, path).send().await.unwrap();
            assert_eq!(response.status(), 405, "{method} {path}");
            assert_eq!(header(&response, "allow"), allow, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_full_calendar_says_so_until_an_event_is_deleted() {
    let calendar = Calendar::start().await;
    let token = calendar
        .issuer
        .token()
        .audience("calendar-service")
        .scope("calendar.write")
        .mint();
    let post = || {
        let event = json!({"title": "x", "start": 0, "end": 0});
        calendar
            .anonymous("POST", "/event")
            .bearer_auth(&token)
            .json(&event)
    };
    for _ in 1..10_000 {
        assert_eq!(post().send().await.unwrap().status(), 200);
    }
    let (status, problem) = refused(post()).await;
    assert_eq!(
        (status, &problem["title"]),
        (507, &json!("Insufficient Storage"))
    );
    ok(calendar.request("DELETE", "/event/1")).await;
    assert_eq!(ok(post()).await["id"], 10_001);
    let all: Vec<Value> = calendar
        .request("GET", "/event")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(all.len(), 1000);
}
