//! What a caller with a good token can do.

use serde_json::{Value, json};

use super::{Notes, header, ok, refused};

#[tokio::test]
async fn a_new_service_has_one_note() {
    let notes = Notes::start().await;
    assert_eq!(
        ok(notes.with_scope("note.read", "GET", "/note")).await,
        json!([{"id": 1, "title": "Meeting with A", "description": "Discuss the project"}])
    );
}

#[tokio::test]
async fn a_note_is_added_changed_and_deleted() {
    let notes = Notes::start().await;
    let write = |method, path| notes.with_scope("note.write", method, path);
    assert_eq!(
        ok(write("POST", "/note").json(&json!({"title": " Soup ", "description": "🍜\n"}))).await,
        json!({"id": 2, "title": "Soup", "description": "🍜\n"})
    );
    let changed = json!({"id": 2, "title": "Stew", "description": "🍜\n"});
    let stew = json!({"title": "Stew"});
    assert_eq!(ok(write("PUT", "/note/2").json(&stew)).await, changed);
    assert_eq!(ok(write("PUT", "/note/2").json(&json!({}))).await, changed);
    assert_eq!(
        ok(write("PUT", "/note/2").json(&changed)).await,
        changed,
        "sent back whole"
    );
    assert_eq!(
        ok(write("PUT", "/note/2").json(&json!({"description": ""}))).await,
        json!({"id": 2, "title": "Stew", "description": ""})
    );

    assert_eq!(
        ok(write("DELETE", "/note/2")).await,
        json!({"deleted": true})
    );
    assert_eq!(
        ok(write("DELETE", "/note/2")).await,
        json!({"deleted": false})
    );
    let (status, _) = refused(write("PUT", "/note/2").json(&stew)).await;
    assert_eq!(status, 404);
    assert_eq!(
        ok(write("POST", "/note").json(&stew)).await,
        json!({"id": 3, "title": "Stew", "description": ""})
    );
}

#[tokio::test]
async fn the_longest_texts_and_every_script_come_back_as_they_were() {
    let notes = Notes::start().await;
    let note = json!({"title": "é".repeat(200), "description": "🦀\u{0}\"\\".repeat(2500)});
    let kept = ok(notes.request("POST", "/note").json(&note)).await;
    assert_eq!(
        (&kept["title"], &kept["description"]),
        (&note["title"], &note["description"])
    );
}

#[tokio::test]
async fn a_long_list_comes_in_pages_that_link_to_the_next() {
    let notes = Notes::start().await;
    for title in ["b", "c"] {
        ok(notes
            .request("POST", "/note")
            .json(&json!({"title": title})))
        .await;
    }
    let page = async |path: &str| {
        let response = notes.request("GET", path).send().await.unwrap();
        let link = header(&response, "link").to_owned();
        let page: Vec<Value> = response.json().await.unwrap();
        let ids: Vec<u64> = page
            .iter()
            .map(|note| note["id"].as_u64().unwrap())
            .collect();
        (ids, link)
    };
    let next = "</note?limit=2&after=2>; rel=\"next\"";
    assert_eq!(page("/note?limit=2").await, (vec![1, 2], next.to_owned()));
    assert_eq!(
        page("/note?limit=2&after=2").await,
        (vec![3], String::new())
    );
}

#[tokio::test]
async fn head_answers_like_get_without_the_body() {
    let notes = Notes::start().await;
    let get = notes.request("GET", "/note").send().await.unwrap();
    let head = notes.request("HEAD", "/note").send().await.unwrap();
    assert_eq!(head.status(), 200);
    for name in ["content-type", "content-length", "cache-control"] {
        assert_eq!(header(&head, name), header(&get, name), "{name}");
    }
    assert_eq!(head.text().await.unwrap(), "");
}
