//! What a caller with a good token can do.

use serde_json::{Value, json};

use super::{Calendar, NOW, header, ok, refused};

#[tokio::test]
async fn a_new_calendar_has_one_event_from_now_to_an_hour_from_now() {
    let calendar = Calendar::start().await;
    let now = NOW * 1000;
    assert_eq!(
        ok(calendar.with_scope("calendar.read", "GET", "/event")).await,
        json!([{
            "id": 1, "title": "Meeting with A", "description": "Discuss the project",
            "start": now, "end": now + 3_600_000,
        }])
    );
}

#[tokio::test]
async fn an_event_is_added_changed_and_deleted() {
    let calendar = Calendar::start().await;
    let write = |method, path| calendar.with_scope("calendar.write", method, path);
    let lunch = json!({"title": " Lunch ", "description": "Soup\n🍜", "start": 1000, "end": 2e3});
    assert_eq!(
        ok(write("POST", "/event").json(&lunch)).await,
        json!({"id": 2, "title": "Lunch", "description": "Soup\n🍜", "start": 1000, "end": 2000})
    );
    let later = json!({"start": 5000, "end": 5000});
    let changed =
        json!({"id": 2, "title": "Lunch", "description": "Soup\n🍜", "start": 5000, "end": 5000});
    assert_eq!(ok(write("PUT", "/event/2").json(&later)).await, changed);
    assert_eq!(ok(write("PUT", "/event/2").json(&json!({}))).await, changed);
    assert_eq!(
        ok(write("PUT", "/event/2").json(&changed)).await,
        changed,
        "sent back whole"
    );

    assert_eq!(
        ok(write("DELETE", "/event/2")).await,
        json!({"deleted": true})
    );
    assert_eq!(
        ok(write("DELETE", "/event/2")).await,
        json!({"deleted": false})
    );
    let (status, _) = refused(write("PUT", "/event/2").json(&later)).await;
    assert_eq!(status, 404);
    let dinner = json!({"title": "Dinner", "start": 0, "end": 253_402_300_799_999_u64});
    let dinner = ok(write("POST", "/event").json(&dinner)).await;
    assert_eq!(
        (&dinner["id"], &dinner["description"]),
        (&json!(3), &json!("")),
        "{dinner}"
    );
}

#[tokio::test]
async fn the_longest_texts_and_every_script_come_back_as_they_were() {
    let calendar = Calendar::start().await;
    let event = json!({
        "title": "é".repeat(200), "description": "🦀\u{0}\"\\".repeat(2500), "start": 0, "end": 0,
    });
    let kept = ok(calendar.request("POST", "/event").json(&event)).await;
    assert_eq!(kept["title"], event["title"]);
    assert_eq!(kept["description"], event["description"]);
}

#[tokio::test]
async fn a_long_list_comes_in_pages_that_link_to_the_next() {
    let calendar = Calendar::start().await;
    for title in ["b", "c", "d", "e"] {
        ok(calendar
            .request("POST", "/event")
            .json(&json!({"title": title, "start": 0, "end": 0})))
        .await;
    }
    ok(calendar.request("DELETE", "/event/3")).await;
    let mut pages: Vec<Vec<u64>> = Vec::new();
    let mut path = "/event?limit=2".to_owned();
    loop {
        let response = calendar.request("GET", &path).send().await.unwrap();
        let next = header(&response, "link").to_owned();
        let page: Vec<Value> = response.json().await.unwrap();
        let ids = page.iter().map(|event| event["id"].as_u64().unwrap());
        pages.push(ids.collect());
        let Some(next) = next.strip_prefix('<') else {
            break;
        };
        path = next.strip_suffix(">; rel=\"next\"").unwrap().to_owned();
    }
    assert_eq!(pages, [vec![1, 2], vec![4, 5]]);
}

#[tokio::test]
async fn head_answers_like_get_without_the_body() {
    let calendar = Calendar::start().await;
    let get = calendar.request("GET", "/event").send().await.unwrap();
    let head = calendar.request("HEAD", "/event").send().await.unwrap();
    assert_eq!(head.status(), 200);
    for name in ["content-type", "content-length", "cache-control"] {
        assert_eq!(header(&head, name), header(&get, name), "{name}");
    }
    assert_eq!(head.text().await.unwrap(), "");
}
