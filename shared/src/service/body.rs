//! Reading a request's body: bounded in size and in time, whatever the caller sends.

use std::{
    borrow::Cow,
    future::{Future, poll_fn},
    mem,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::{StatusCode, header},
    web::{Bytes, BytesMut},
};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use super::{Problem, object::read_object};

/// The largest body that is read, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// How long a caller may take to send a body. Without a bound, half-sent requests would pile up.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Charsets in which ASCII is spelled as in UTF-8.
const ASCII_LIKE: [&str; 4] = ["utf-8", "utf8", "us-ascii", "iso-8859-1"];

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More bytes than are read.
    #[error("the body is larger than {max} bytes: send a smaller one")]
    TooLarge {
        /// How many are read.
        max: usize,
    },
    /// Not all of it came within ten seconds.
    #[error("the body did not arrive within 10 seconds: send it in one go")]
    TooSlow,
    /// It is compressed.
    #[error("the body has a Content-Encoding: send it as it is")]
    Encoded,
    /// The connection broke off, or the framing is wrong.
    #[error("the body broke off before its end: send it whole")]
    Broken,
}

impl BodyError {
    /// 413, 408 or 400.
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Encoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads the whole body.
///
/// # Errors
/// When it is too large, too slow, or breaks off.
pub async fn read_body(request: &HttpRequest, payload: &mut Payload) -> Result<Bytes, BodyError> {
    read_body_of(request, payload, MAX_BODY).await
}

/// Reads the whole body, of at most `max` bytes: for the few places where more than [`MAX_BODY`] makes sense.
///
/// # Errors
/// When it is too large, too slow, or breaks off.
pub async fn read_body_of(
    request: &HttpRequest,
    payload: &mut Payload,
    max: usize,
) -> Result<Bytes, BodyError> {
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        return Err(BodyError::Encoded);
    }
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > max as u64) {
        return Err(BodyError::TooLarge { max });
    }
    let mut collect = pin!(async {
        let mut body = Bytes::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| BodyError::Broken)?;
            if body.len() + chunk.len() > max {
                return Err(BodyError::TooLarge { max });
            }
            body = joined(body, chunk);
        }
        Ok(body)
    });
    // Mostly all of it has come together with the head, and there is nothing to watch the time for.
    if let Some(body) = soon(collect.as_mut()).await {
        return body;
    }
    tokio::time::timeout(BODY_TIMEOUT, collect)
        .await
        .unwrap_or(Err(BodyError::TooSlow))
}

/// One after the other. Mostly there is one chunk, which is the body as it came.
fn joined(body: Bytes, chunk: Bytes) -> Bytes {
    if body.is_empty() {
        return chunk;
    }
    let mut body = BytesMut::from(body);
    body.extend_from_slice(&chunk);
    body.freeze()
}

/// What comes of a future at the first or at the second look. actix-web hands out what it has of a body when it was asked for
/// once.
async fn soon<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut is_first = true;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if mem::take(&mut is_first) => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// The request's media type in lower case, when its charset is one whose ASCII part is that of
/// UTF-8: `application/json; charset=utf-8` is `application/json`. Some clients name ISO-8859-1 by
/// habit and send ASCII; what is not UTF-8 is refused when the body is read.
pub fn media_type(request: &HttpRequest) -> Option<Cow<'_, str>> {
    let value = request.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    let mut parts = value.split(';').map(str::trim);
    let essence = parts.next()?;
    let ascii_like = parts.filter_map(charset).all(|charset| {
        let is_it = |known: &&str| known.eq_ignore_ascii_case(charset);
        ASCII_LIKE.iter().any(is_it)
    });
    let essence = if essence.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(essence.to_ascii_lowercase())
    } else {
        Cow::Borrowed(essence)
    };
    ascii_like.then_some(essence)
}

/// What a media type's parameter says, if it is the charset.
fn charset(parameter: &str) -> Option<&str> {
    const NAME: &str = "charset=";
    let (name, charset) = parameter.split_at_checked(NAME.len())?;
    let is_it = name.eq_ignore_ascii_case(NAME);
    is_it.then(|| charset.trim_matches('"'))
}

/// A JSON object, read into `T`; what does not fit is refused with a [`Problem`] that says where.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for JsonBody<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            if media_type(&request).as_deref() != Some("application/json") {
                return Err(Problem::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "send the body as JSON, with the header `Content-Type: application/json`",
                ));
            }
            let body = read_body(&request, &mut payload)
                .await
                .map_err(|error| Problem::new(error.status(), error.to_string()))?;
            read_object(&body).map(Self)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use actix_web::{dev::Payload, error::PayloadError, test::TestRequest};
    use futures_util::stream::{Stream, iter};

    use super::*;

    type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>;

    async fn read(
        chunks: impl IntoIterator<Item = Result<&'static str, PayloadError>>,
    ) -> Result<Bytes, BodyError> {
        let request = TestRequest::default().to_http_request();
        let chunks: Vec<_> = chunks
            .into_iter()
            .map(|chunk| chunk.map(Bytes::from))
            .collect();
        let chunks: Chunks = Box::pin(iter(chunks));
        read_body_of(&request, &mut Payload::from(chunks), 8).await
    }

    #[actix_web::test]
    async fn a_body_is_all_of_its_chunks_up_to_a_bound() {
        for (chunks, body) in [
            (&[][..], Ok("")),
            (&["12345678"], Ok("12345678")),
            (&["", "12", "", "345", "678"], Ok("12345678")),
            (&["123456789"], Err(BodyError::TooLarge { max: 8 })),
            (&["1", "2345678", "9"], Err(BodyError::TooLarge { max: 8 })),
        ] {
            let read = read(chunks.iter().map(|chunk| Ok(*chunk))).await;
            assert_eq!(read, body.map(Bytes::from), "{chunks:?}");
        }
        let broken = [Ok("123"), Err(PayloadError::Incomplete(None))];
        assert_eq!(read(broken).await, Err(BodyError::Broken));
    }

    #[actix_web::test]
    async fn what_is_not_there_soon_is_not_waited_for() {
        let mut looks = 0;
        let mut third = pin!(poll_fn(|_| {
            looks += 1;
            if looks == 3 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }));
        assert_eq!(soon(third.as_mut()).await, None);
        assert_eq!(soon(third).await, Some(()));
        assert_eq!(soon(pin!(ready(1))).await, Some(1));
        assert_eq!(soon(pin!(pending::<()>())).await, None);
    }

    #[test]
    fn a_media_type_is_told_when_its_charset_is_like_ascii() {
        for (header, expected) in [
            ("application/json", Some("application/json")),
            ("Application/JSON ; Charset=UTF-8", Some("application/json")),
            (
                "application/json;charset=\"utf8\"",
                Some("application/json"),
            ),
            ("text/plain; x; charset=us-ascii", Some("text/plain")),
            ("text/plain; charset=ISO-8859-1; charset=utf-16", None),
            ("text/plain; charset=", None),
            ("", Some("")),
        ] {
            let request = TestRequest::default().insert_header(("Content-Type", header));
            let request = request.to_http_request();
            assert_eq!(media_type(&request).as_deref(), expected, "{header:?}");
        }
        assert_eq!(media_type(&TestRequest::default().to_http_request()), None);
    }
}
