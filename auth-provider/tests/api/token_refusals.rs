//! What the token endpoint refuses, and how. In bodies and headers `SECRET` stands for bot's secret.

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Server, json};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const GOOD: &str = "grant_type=client_credentials&resource=notes";
const SENT_TWICE: &str = "send each parameter once";

/// How the caller says who it is.
enum As {
    Bot,
    Client(&'static str),
    Nobody,
    /// The text after `Authorization: `; what follows `Basic ` is encoded here.
    Header(&'static str),
    /// The same, sent as it is.
    RawHeader(&'static [u8]),
}
use As::{Bot, Client, Header, Nobody, RawHeader};

/// Caller, media type, body; status, error code, a part of the description.
type Refused = (
    As,
    &'static str,
    &'static [u8],
    u16,
    &'static str,
    &'static str,
);

#[actix_web::test]
async fn refusals_by_body() {
    let server = Server::start().await;
    #[rustfmt::skip]
    let table: &[Refused] = &[
        // grant_type
        (Bot, FORM, b"", 400, "invalid_request", "grant_type=client_credentials is missing"),
        (Bot, FORM, b"grant_type=", 400, "invalid_request", "grant_type=client_credentials is missing"),
        (Bot, FORM, b"grant_type", 400, "invalid_request", "grant_type=client_credentials is missing"),
        (Bot, FORM, b"Grant_Type=client_credentials", 400, "invalid_request", "missing"),
        (Bot, FORM, b"grant_type=password", 400, "unsupported_grant_type", "client_credentials only"),
        (Bot, FORM, b"grant_type=CLIENT_CREDENTIALS", 400, "unsupported_grant_type", ""),
        (Bot, FORM, b"grant_type=client_credentials+", 400, "unsupported_grant_type", ""),
        (Bot, FORM, b"grant_type=refresh_token&refresh_token=x", 400, "unsupported_grant_type", ""),
        (Bot, JSON, br#"{"grant_type":["client_credentials"]}"#, 400, "invalid_request", "grant_type must be one string"),
        (Bot, JSON, br#"{"grant_type":true}"#, 400, "invalid_request", "grant_type must be one string"),
        // resource
        (Bot, FORM, b"grant_type=client_credentials", 400, "invalid_target", "may call calendar, notes"),
        (Bot, FORM, b"grant_type=client_credentials&resource=mail", 400, "invalid_target", "may call calendar, notes"),
        (Bot, FORM, b"grant_type=client_credentials&resource=secret-lab", 400, "invalid_target", "may call calendar, notes"),
        (Bot, FORM, b"grant_type=client_credentials&resource=NOTES", 400, "invalid_target", ""),
        (Bot, FORM, b"grant_type=client_credentials&resource=notes+", 400, "invalid_target", ""),
        (Bot, FORM, b"grant_type=client_credentials&resource=https://x/%23f", 400, "invalid_target", ""),
        (Bot, FORM, b"grant_type=client_credentials&resource=%22%5C%00%C3%A9", 400, "invalid_target", ""),
        (Bot, FORM, b"grant_type=client_credentials&resource=notes&resource=calendar", 400, "invalid_target", "ask once for each"),
        (Bot, FORM, b"grant_type=client_credentials&resource=notes&audience=calendar", 400, "invalid_target", "ask once for each"),
        (Bot, FORM, b"grant_type=client_credentials&audience=notes&audience=notes", 400, "invalid_request", "audience is sent twice"),
        (Bot, JSON, br#"{"grant_type":"client_credentials","resource":["notes","calendar"]}"#, 400, "invalid_target", ""),
        (Bot, JSON, br#"{"grant_type":"client_credentials","resource":{"a":1}}"#, 400, "invalid_request", "resource must be"),
        (Bot, JSON, br#"{"grant_type":"client_credentials","audience":[1]}"#, 400, "invalid_request", "audience must be"),
        (Client("nobody"), FORM, b"grant_type=client_credentials", 400, "unauthorized_client", "may not call any"),
        (Client("nobody"), FORM, GOOD.as_bytes(), 400, "unauthorized_client", "may not call any"),
        (Client("single"), FORM, GOOD.as_bytes(), 400, "invalid_target", "may call plain"),
        // scope
        (Bot, FORM, b"grant_type=client_credentials&resource=notes&scope=calendar.read", 400, "invalid_scope", "allows note.read note.write"),
        (Bot, FORM, b"grant_type=client_credentials&resource=notes&scope=note.read+admin", 400, "invalid_scope", "does not allow all of these"),
        (Bot, FORM, b"grant_type=client_credentials&resource=notes&scope=NOTE.READ", 400, "invalid_scope", ""),
        (Bot, FORM, b"grant_type=client_credentials&resource=notes&scope=note.read++note.write", 400, "invalid_scope", "single spaces"),
        (Bot, FORM, b"grant_type=client_credentials&resource=notes&scope=+note.read", 400, "invalid_scope", "single spaces"),
        (Bot, FORM, b"grant_type=client_credentials&resource=notes&scope=note.read%0Anote.write", 400, "invalid_scope", ""),
        (Bot, FORM, b"grant_type=client_credentials&resource=notes&scope=%22", 400, "invalid_scope", ""),
        (Bot, FORM, b"grant_type=client_credentials&resource=notes&scope=%C3%A9", 400, "invalid_scope", ""),
        (Bot, JSON, br#"{"grant_type":"client_credentials","resource":"notes","scope":["note.read note.write"]}"#, 400, "invalid_scope", ""),
        (Bot, JSON, br#"{"grant_type":"client_credentials","resource":"notes","scope":[1]}"#, 400, "invalid_scope", ""),
        (Bot, JSON, br#"{"grant_type":"client_credentials","resource":"notes","scope":7}"#, 400, "invalid_request", "scope must be"),
        (Client("single"), FORM, b"grant_type=client_credentials&scope=note.read", 400, "invalid_scope", ""),
        // the body as such
        (Bot, FORM, b"grant_type=client_credentials&grant_type=client_credentials", 400, "invalid_request", SENT_TWICE),
        (Bot, FORM, b"grant_type=client_credentials&scope=note.read&scope=note.write", 400, "invalid_request", SENT_TWICE),
        (Bot, FORM, b"grant_type=client_credentials&client_id=bot&client_id=bot", 400, "invalid_request", SENT_TWICE),
        (Bot, FORM, b"grant_type=client_credentials&%67rant_type=x", 400, "invalid_request", SENT_TWICE),
        (Bot, JSON, br#"{"grant_type":"client_credentials","grant_type":"password"}"#, 400, "invalid_request", "sent twice"),
        (Bot, FORM, b"grant_type=client_credentials&scope=%FF", 400, "invalid_request", "UTF-8"),
        (Bot, FORM, b"grant_type=client_credentials&scope=\xff", 400, "invalid_request", "UTF-8"),
        (Bot, JSON, b"{\"grant_type\":\"\xff\"}", 400, "invalid_request", "no JSON object"),
        (Bot, JSON, b"", 400, "invalid_request", "no JSON object"),
        (Bot, JSON, b"{\"grant_type\":", 400, "invalid_request", "no JSON object"),
        (Bot, JSON, b"[]", 400, "invalid_request", "no JSON object"),
        (Bot, JSON, b"\"client_credentials\"", 400, "invalid_request", "no JSON object"),
        (Bot, JSON, GOOD.as_bytes(), 400, "invalid_request", "no JSON object"),
        (Bot, "", GOOD.as_bytes(), 400, "invalid_request", "send the body as"),
        (Bot, "text/plain", GOOD.as_bytes(), 400, "invalid_request", "send the body as"),
        (Bot, "multipart/form-data; boundary=x", GOOD.as_bytes(), 400, "invalid_request", "send the body as"),
        (Bot, "application/x-www-form-urlencoded; charset=utf-16", GOOD.as_bytes(), 400, "invalid_request", "in UTF-8"),
    ];
    for (caller, media_type, body, status, error, part) in table {
        refused(&server, caller, media_type, body, *status, error, part).await;
    }
}

#[actix_web::test]
async fn refusals_by_credentials() {
    const FAILED: &str = "client authentication failed";
    const FORM_OF_HEADER: &str = "not of the form Basic";
    let server = Server::start().await;
    #[rustfmt::skip]
    let table: &[(As, &str, u16, &str, &str)] = &[
        (Nobody, "", 401, "invalid_client", "authenticate the client"),
        (Nobody, "&client_id=bot", 401, "invalid_client", "authenticate the client"),
        (Nobody, "&client_secret=SECRET", 401, "invalid_client", "authenticate the client"),
        (Nobody, "&client_id=bot&client_secret=", 401, "invalid_client", "authenticate the client"),
        (Nobody, "&client_id=bot&client_secret=wrong", 401, "invalid_client", FAILED),
        (Nobody, "&client_id=bot&client_secret=SECRET+", 401, "invalid_client", FAILED),
        (Nobody, "&client_id=BOT&client_secret=SECRET", 401, "invalid_client", FAILED),
        (Nobody, "&client_id=single&client_secret=SECRET", 401, "invalid_client", FAILED),
        (Nobody, "&client_id=unknown&client_secret=SECRET", 401, "invalid_client", FAILED),
        (Nobody, "&client_id=%00&client_secret=SECRET", 401, "invalid_client", FAILED),
        (Nobody, "&client_id=bot&client_secret=SECRET&client_secret=SECRET", 400, "invalid_request", SENT_TWICE),
        (Bot, "&client_id=single", 400, "invalid_request", "not the one in the Authorization header"),
        (Bot, "&client_id=bot&client_secret=SECRET", 400, "invalid_request", "authenticates twice"),
        (Bot, "&client_secret=wrong", 400, "invalid_request", "authenticates twice"),
        (Bot, "&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion=x.y.z", 400, "invalid_request", "client secret alone"),
        (Nobody, "&client_id=bot&client_assertion=x.y.z", 400, "invalid_request", "client secret alone"),
        (Header("Basic bot:wrong"), "", 401, "invalid_client", FAILED),
        (Header("Basic bot:"), "", 401, "invalid_client", FAILED),
        (Header("Basic :SECRET"), "", 401, "invalid_client", FAILED),
        (Header("Basic :"), "", 401, "invalid_client", FAILED),
        (Header("Basic bot:SECRET:x"), "", 401, "invalid_client", FAILED),
        (Header("Basic bot :SECRET"), "", 401, "invalid_client", FAILED),
        (Header("Basic bot\n:SECRET"), "", 401, "invalid_client", FAILED),
        (Header("Basic unknown:SECRET"), "", 401, "invalid_client", FAILED),
        (Header("Basic bot"), "", 401, "invalid_client", FORM_OF_HEADER),
        (Header("Basic bot:%FF"), "", 401, "invalid_client", FORM_OF_HEADER),
        (RawHeader(b"Basic"), "", 401, "invalid_client", FORM_OF_HEADER),
        (RawHeader(b"Basic !!!!"), "", 401, "invalid_client", FORM_OF_HEADER),
        (RawHeader(b"Basic \xff\xfe"), "", 401, "invalid_client", FORM_OF_HEADER),
        (RawHeader(b"Bearer"), "", 401, "invalid_client", FORM_OF_HEADER),
        (RawHeader(b"Bearer abc"), "", 401, "invalid_client", FORM_OF_HEADER),
        (RawHeader(b"Digest username=\"bot\""), "", 401, "invalid_client", FORM_OF_HEADER),
        (RawHeader(b"Bearer abc"), "&client_id=bot&client_secret=SECRET", 400, "invalid_request", "authenticates twice"),
    ];
    for (caller, more, status, error, part) in table {
        let body = format!("{GOOD}{more}");
        refused(&server, caller, FORM, body.as_bytes(), *status, error, part).await;
    }
}

#[actix_web::test]
async fn unknown_client_and_wrong_secret_look_the_same() {
    let server = Server::start().await;
    let mut answers = Vec::new();
    for client in ["bot", "unknown"] {
        let answer = server
            .post("/oauth/token")
            .basic_auth(client, Some("m2m_wrong"))
            .body(GOOD);
        let answer = answer.header("content-type", FORM).send().await.unwrap();
        let headers = answer.headers().iter().filter(|(name, _)| *name != "date");
        let headers: Vec<_> = headers.map(|(n, v)| (n.clone(), v.clone())).collect();
        let mut body = json(answer).await;
        assert!(body["request_id"].take().is_string());
        answers.push((headers, body));
    }
    assert_eq!(answers[0], answers[1]);
}

#[actix_web::test]
async fn parameters_in_the_url_are_refused() {
    let server = Server::start().await;
    for query in [
        "client_id=bot&client_secret=x",
        "grant_type=client_credentials",
        "x",
    ] {
        let request = server.post(&format!("/oauth/token?{query}"));
        let request = request.basic_auth("bot", Some(server.secret("bot")));
        let answer = request
            .header("content-type", FORM)
            .body(GOOD)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        assert_eq!(json(answer).await["error"], "invalid_request");
    }
}

#[actix_web::test]
async fn a_body_over_64_kib_is_refused() {
    let server = Server::start().await;
    for (size, status) in [
        (64 * 1024, StatusCode::OK),
        (64 * 1024 + 1, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let body = format!("{GOOD}&x={}", "x".repeat(size - GOOD.len() - 3));
        let request = server
            .post("/oauth/token")
            .basic_auth("bot", Some(server.secret("bot")));
        let answer = request
            .header("content-type", FORM)
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status);
    }
}

#[actix_web::test]
async fn a_body_that_does_not_say_its_size_is_cut_off_there_too() {
    let server = Server::start().await;
    let mut connection = TcpStream::connect(server.address()).await.unwrap();
    let head = format!(
        "POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    for _ in 0..17 {
        connection.write_all(chunk.as_bytes()).await.unwrap();
    }
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[actix_web::test]
async fn a_wrong_method_is_told_the_right_one() {
    let server = Server::start().await;
    for method in [
        "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW",
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let url = format!("{}/oauth/token", server.url);
        let answer = server
            .http
            .request(method.clone(), url)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.headers()["allow"], "POST");
    }
}

#[actix_web::test]
async fn a_compressed_body_is_refused_by_name() {
    let server = Server::start().await;
    let request = server
        .post("/oauth/token")
        .basic_auth("bot", Some(server.secret("bot")));
    let request = request
        .header("content-type", FORM)
        .header("content-encoding", "gzip");
    let answer = request.body(GOOD).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let answer = json(answer).await;
    assert!(
        answer["error_description"]
            .as_str()
            .unwrap()
            .contains("Content-Encoding")
    );
}

#[actix_web::test]
async fn two_authorization_headers_are_refused() {
    let server = Server::start().await;
    let secret = server.secret("bot");
    let request = server
        .post("/oauth/token")
        .header("content-type", FORM)
        .body(GOOD);
    let request = request
        .basic_auth("bot", Some(&secret))
        .basic_auth("bot", Some(&secret));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(json(answer).await["error"], "invalid_request");
}

async fn refused(
    server: &Server,
    caller: &As,
    media_type: &str,
    body: &[u8],
    status: u16,
    error: &str,
    part: &str,
) {
    let secret = server.secret("bot");
    let row = String::from_utf8_lossy(body).into_owned();
    let mut request = server.post("/oauth/token");
    if !media_type.is_empty() {
        request = request.header("content-type", media_type);
    }
    request = match caller {
        Bot => request.basic_auth("bot", Some(&secret)),
        Client(id) => request.basic_auth(id, Some(server.secret(id))),
        Nobody => request,
        RawHeader(value) => request.header("authorization", *value),
        Header(text) => {
            let plain = text
                .strip_prefix("Basic ")
                .unwrap()
                .replace("SECRET", &secret);
            request.header("authorization", format!("Basic {}", STANDARD.encode(plain)))
        }
    };
    let body = match str::from_utf8(body) {
        Ok(text) => text.replace("SECRET", &secret).into_bytes(),
        Err(_) => body.to_vec(),
    };
    let answer = request.body(body).send().await.unwrap();

    assert_eq!(answer.status().as_u16(), status, "{row}");
    assert_eq!(answer.headers()["cache-control"], "no-store", "{row}");
    assert_eq!(
        answer.headers()["content-type"],
        "application/json",
        "{row}"
    );
    let challenge = answer
        .headers()
        .get("www-authenticate")
        .map(|value| value.to_str().unwrap());
    assert_eq!(
        challenge.is_some_and(|c| c.starts_with("Basic realm=")),
        status == 401,
        "{row}"
    );
    let answer = json(answer).await;
    assert_eq!(answer["error"], error, "{row}: {answer}");
    let description = answer["error_description"].as_str().unwrap();
    assert!(description.contains(part), "{row}: {description}");
    // RFC 6749 section 5.2 allows these characters and no others.
    assert!(
        description
            .bytes()
            .all(|b| matches!(b, b' '..=b'~') && !b"\"\\".contains(&b)),
        "{row}"
    );
    assert!(
        matches!(&answer["request_id"], Value::String(id) if id.len() == 22),
        "{row}"
    );
    assert!(!answer.to_string().contains(&secret), "{row}");
}
