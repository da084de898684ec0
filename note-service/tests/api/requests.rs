//! Requests with a good token that are refused all the same. Nothing a caller sends ends in a 500.

use serde_json::json;

use super::{Notes, header, ok, refused};

/// The member at fault (none: it is the whole), a word of the explanation, and the body, for POST
/// and PUT.
#[rustfmt::skip]
const BAD_BODIES: [(&str, &str, &str); 24] = [
    ("", "no JSON object", ""),
    ("", "EOF", "{"),
    ("", "expected an object", "null"),
    ("", "expected an object", "true"),
    ("", "expected an object", "\"x\""),
    ("", "expected an object", "[]"),
    ("", "expected an object", r#"["x", "y"]"#),
    ("", "trailing characters", r#"{"title": "x"} {"title": "y"}"#),
    ("", "trailing comma", r#"{"title": "x",}"#),
    ("", "key must be a string", "{title: 'x'}"),
    ("", "hex escape", r#"{"title": "\ud800"}"#),
    ("", "control character", "{\"title\": \"a\nb\"}"),
    ("title", "empty", r#"{"title": ""}"#),
    ("title", "empty", r#"{"title": "\u3000 "}"#),
    ("title", "null", r#"{"title": null}"#),
    ("title", "expected a string", r#"{"title": 7}"#),
    ("title", "expected a string", r#"{"title": ["x"]}"#),
    ("title", "control", r#"{"title": "a\u0000b"}"#),
    ("title", "control", r#"{"title": "a\u001b[2Jb"}"#),
    ("title", "duplicate", r#"{"title": "x", "title": "x"}"#),
    ("description", "null", r#"{"title": "x", "description": null}"#),
    ("description", "expected a string", r#"{"title": "x", "description": 1}"#),
    ("start", "unknown field", r#"{"title": "x", "start": 0}"#),
    ("Title", "unknown field", r#"{"Title": "x"}"#),
];

#[tokio::test]
async fn a_body_that_does_not_fit_is_refused_and_changes_nothing() {
    let notes = Notes::start().await;
    let before = ok(notes.request("GET", "/note")).await;
    let of_post = [
        ("", "missing field `title`", "{}"),
        ("", "missing field `title`", r#"{"description": "y"}"#),
        ("id", "unknown field", r#"{"title": "x", "id": 9}"#),
    ];
    let posts = BAD_BODIES.into_iter().chain(of_post);
    let posts = posts.map(|row| ("POST", "/note", row));
    let another = ("id", "not the one in the path", r#"{"id": 2}"#);
    let puts = BAD_BODIES.into_iter().chain([another]);
    let puts = puts.map(|row| ("PUT", "/note/1", row));
    for (method, path, (field, says, body)) in posts.chain(puts) {
        let request = notes.request(method, path).body(body);
        let (status, problem) = refused(request.header("content-type", "application/json")).await;
        let seen = format!("{method} {body}: {problem}");
        assert_eq!(status, 400, "{seen}");
        assert_eq!(problem["field"].as_str().unwrap_or(""), field, "{seen}");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{seen}");
    }
    assert_eq!(ok(notes.request("GET", "/note")).await, before);
}

#[tokio::test]
#[rustfmt::skip]
async fn bodies_of_the_wrong_size_type_or_encoding_are_refused() {
    let notes = Notes::start().await;
    let note = |title: usize, description: usize| {
        let (title, description) = ("x".repeat(title), "x".repeat(description));
        json!({"title": title, "description": description}).to_string()
    };
    let json = "application/json";
    for (what, status, content_type, body) in [
        ("a title of 201 characters", 400, json, note(201, 0).into()),
        ("a description of 10,001", 400, json, note(1, 10_001).into()),
        ("Latin-1", 400, json, b"{\"title\": \"\xe9\"}".to_vec()),
        ("65 KiB", 413, json, note(1, 65 * 1024).into()),
        ("declared Latin-1", 415, "application/json; charset=latin1", note(1, 1).into()),
        ("a form", 415, "application/x-www-form-urlencoded", b"title=x".to_vec()),
        ("no type", 415, "", note(1, 1).into()),
    ] {
        for (method, path) in [("POST", "/note"), ("PUT", "/note/1")] {
            let request = notes.request(method, path).header("content-type", content_type);
            let (got, problem) = refused(request.body(body.clone())).await;
            assert_eq!(got, status, "{method} {what}: {problem}");
        }
    }
}

#[tokio::test]
async fn a_query_that_cannot_be_meant_is_refused() {
    let notes = Notes::start().await;
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=1&limit=1",
        "after=-1",
        "page=2",
    ] {
        let (status, problem) = refused(notes.request("GET", &format!("/note?{query}"))).await;
        assert_eq!(status, 400, "{query}: {problem}");
    }
}

#[tokio::test]
#[rustfmt::skip]
async fn a_path_that_names_no_note_is_not_found() {
    let notes = Notes::start().await;
    for path in [
        "/", "/notes", "/note/", "/note/1/", "/note/abc", "/note/-1", "/note/0", "/note/01",
        "/note/1.0", "/note/%00", "/note/%ff", "/note/12345678901234567890",
    ] {
        let (status, _) = refused(notes.request("DELETE", path)).await;
        assert_eq!(status, 404, "{path}");
    }
    for path in ["/note/2", "/note/9999999999999999"] {
        let (status, problem) = refused(notes.request("PUT", path).json(&json!({}))).await;
        assert_eq!((status, &problem["detail"]), (404, &json!("there is no note with this id")));
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let notes = Notes::start().await;
    for (path, allow, methods) in [
        ("/note", "GET, HEAD, POST", ["PUT", "PATCH", "DELETE"]),
        ("/note/1", "DELETE, PUT", ["GET", "HEAD", "POST"]),
    ] {
        for method in methods {
            let response = notes.request(method, path).send().await.unwrap();
            assert_eq!(response.status(), 405, "{method} {path}");
            assert_eq!(header(&response, "allow"), allow, "{method} {path}");
        }
    }
}
