//! Which request a line of the log, an error or a call to another service belongs to.
//!
//! What a program does for one request has two names. The *request id* is this server's own: the
//! caller reads it in a refusal, and the log has it. The *trace id* is shared by all servers that the
//! request causes to work: it comes and goes on in the header `traceparent` (W3C Trace Context,
//! <https://www.w3.org/TR/trace-context/>). A server of this workspace takes it from its callers
//! (see the module `service`), and this library sends it along with each call that is made meanwhile:
//! for a token, for an issuer's keys, for a verdict about a token, and through
//! [`TokenSource::send`](crate::TokenSource::send).
//!
//! A program that begins something by itself says so:
//!
//! ```
//! # async fn example(tokens: m2m::TokenSource, http: reqwest::Client) -> Result<(), m2m::SendError> {
//! let notes = http.get("https://notes.example.com/note");
//! let answer = m2m::trace::traced("list notes", tokens.send(notes, &["note.read"], "notes")).await?;
//! # Ok(())
//! # }
//! ```

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, LazyLock, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::watch::Watcher;

/// The header that carries a trace from one program to the next.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A place in a trace: what the header `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    parent_id: [u8; 8],
    sampled: bool,
}

impl TraceContext {
    /// A new trace. It is marked as sampled: whether it is recorded is up to the first program that
    /// exports traces.
    pub fn begin() -> Self {
        let random = random::<24>();
        let (mut trace_id, mut parent_id) = ([0; 16], [0; 8]);
        trace_id.copy_from_slice(&random[..16]);
        parent_id.copy_from_slice(&random[16..]);
        // All zeros is no id; chance will hardly ever say so.
        trace_id[0] |= u8::from(trace_id == [0; 16]);
        parent_id[0] |= u8::from(parent_id == [0; 8]);
        Self {
            trace_id,
            parent_id,
            sampled: true,
        }
    }

    /// Reads the value of a `traceparent` header as section 3.2.2 has it, and nothing that is only
    /// similar: lower-case digits, no id of zeros, no version `ff`. Of a later version, what it has
    /// in common with this one is read.
    pub fn parse(value: &str) -> Option<Self> {
        let (known, later) = value.as_bytes().split_at_checked(55)?;
        let [version, trace_id, parent_id, flags] =
            [&known[..2], &known[3..35], &known[36..52], &known[53..]];
        if [known[2], known[35], known[52]] != *b"---" {
            return None;
        }
        match digits::<1>(version)? {
            [0] if later.is_empty() => {}
            [0 | 0xff] => return None,
            _ if later.is_empty() || later[0] == b'-' => {}
            _ => return None,
        }
        let [flags] = digits::<1>(flags)?;
        Some(Self {
            trace_id: digits(trace_id).filter(|id| *id != [0; 16])?,
            parent_id: digits(parent_id).filter(|id| *id != [0; 8])?,
            sampled: flags & 1 == 1,
        })
    }

    /// The name of the whole trace: 32 lower-case hexadecimal digits.
    pub fn trace_id(&self) -> String {
        Hex(&self.trace_id).to_string()
    }

    /// Whether who came before may have recorded it.
    pub fn sampled(&self) -> bool {
        self.sampled
    }

    #[cfg(feature = "otlp")]
    pub(crate) fn from_parts(trace_id: [u8; 16], parent_id: [u8; 8], sampled: bool) -> Self {
        Self {
            trace_id,
            parent_id,
            sampled,
        }
    }

    #[cfg(feature = "otlp")]
    pub(crate) fn parts(&self) -> ([u8; 16], [u8; 8]) {
        (self.trace_id, self.parent_id)
    }
}

/// The value of a `traceparent` header, version 00.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace_id, parent_id) = (Hex(&self.trace_id), Hex(&self.parent_id));
        write!(f, "00-{trace_id}-{parent_id}-0{}", u8::from(self.sampled))
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Lower-case hexadecimal digits, two for each byte.
fn digits<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// What a program is busy with. Both names are made when somebody first needs them: most requests
/// are answered without a word about them.
#[derive(Clone, Default)]
pub(crate) struct Work(Arc<Names>);

#[derive(Default)]
struct Names {
    request_id: OnceLock<String>,
    trace: OnceLock<TraceContext>,
}

tokio::task_local! {
    static WORK: Work;
}

impl Work {
    /// Work that goes on with a trace, or, with `None`, may begin one.
    #[cfg(any(feature = "actix", feature = "otlp", test))]
    pub(crate) fn of(trace: Option<TraceContext>) -> Self {
        let work = Self::default();
        if let Some(trace) = trace {
            work.0.trace.get_or_init(|| trace);
        }
        work
    }

    pub(crate) fn request_id(&self) -> &str {
        self.0.request_id.get_or_init(new_request_id)
    }

    pub(crate) fn trace(&self) -> TraceContext {
        *self.0.trace.get_or_init(TraceContext::begin)
    }

    /// What `future` does belongs to this.
    pub(crate) fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        WORK.scope(self, future)
    }

    /// What `doing` does at once belongs to this.
    #[cfg(feature = "actix")]
    pub(crate) fn enter<R>(&self, doing: impl FnOnce() -> R) -> R {
        WORK.sync_scope(self.clone(), doing)
    }

    pub(crate) fn current() -> Option<Self> {
        WORK.try_with(Self::clone).ok()
    }
}

/// The trace of the request that is being answered here, or of what [`traced`] runs.
pub fn current() -> Option<TraceContext> {
    Work::current().map(|work| work.trace())
}

/// The name of the request that is being answered here; a new one where there is none, as for what a
/// server does by itself. 22 letters, digits, `-` and `_`: 48 bits that 64 requests in a row have in
/// common, so that what is written together lies on one page of an index, and 80 random ones. They
/// are counted and not a time: when it is made, a refusal must not tell.
pub fn request_id() -> String {
    Work::current().map_or_else(new_request_id, |work| work.request_id().to_owned())
}

fn new_request_id() -> String {
    static REQUESTS: LazyLock<AtomicU64> =
        LazyLock::new(|| AtomicU64::new(u64::from_be_bytes(random())));
    let stretch = REQUESTS.fetch_add(1, Ordering::Relaxed) >> 6;
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&stretch.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&random::<10>());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system has randomness");
    bytes
}

/// Runs `future` in a trace: in the one that its caller is in, or in a new one, which is told to the
/// collector under `name` if one is configured. `name` says in a few constant words what is done.
pub async fn traced<F: Future>(name: &'static str, future: F) -> F::Output {
    let current = Work::current();
    #[cfg(feature = "otlp")]
    let (_span, current) = match current {
        Some(work) => (None, Some(work)),
        None => match crate::otlp::begin(name) {
            Some((span, trace)) => (Some(span), Some(Work::of(Some(trace)))),
            None => (None, None),
        },
    };
    #[cfg(not(feature = "otlp"))]
    let _: &str = name; // only a collector is told
    current.unwrap_or_default().scope(future).await
}

/// The same future for another task: what it does still belongs to the request that spawns it, and is
/// [watched](crate::watch) by the same.
///
/// ```
/// # async fn example() {
/// tokio::spawn(m2m::trace::carry(async { /* writes to the log, calls others */ }));
/// # }
/// ```
pub fn carry<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let (work, watcher) = (Work::current(), Watcher::current());
    let future = async move {
        match work {
            Some(work) => work.scope(future).await,
            None => future.await,
        }
    };
    async move {
        match watcher {
            Some(watcher) => watcher.scope(future).await,
            None => future.await,
        }
    }
}

/// Adds the current trace, if there is one and the request does not say another.
pub(crate) fn inject(headers: &mut HeaderMap) {
    if let Some(trace) = current() {
        let value = HeaderValue::try_from(trace.to_string()).expect("digits and hyphens");
        headers.entry(TRACEPARENT).or_insert(value);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_as_it_is_written() {
        let read = TraceContext::parse(GIVEN).unwrap();
        assert_eq!(read.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(read.sampled());
        assert_eq!(read.to_string(), GIVEN);
        let own = TraceContext::begin();
        assert_eq!(TraceContext::parse(&own.to_string()), Some(own));
    }

    #[test]
    fn what_is_no_traceparent_begins_a_new_trace() {
        let zeros = "00000000000000000000000000000000";
        for (value, read) in [
            (GIVEN.replace("-01", "-00"), Some(false)),
            (GIVEN.replace("-01", "-03"), Some(true)),
            (GIVEN.replace("-01", "-fe"), Some(false)),
            (GIVEN.replacen("00", "01", 1), Some(true)),
            (format!("cc{}-what-comes-later", &GIVEN[2..]), Some(true)),
            (format!("cc{}what-comes-later", &GIVEN[2..]), None),
            (format!("{GIVEN}-"), None),
            (format!("{GIVEN}-00"), None),
            (GIVEN.replacen("00", "ff", 1), None),
            (GIVEN.replacen("00", "0", 1), None),
            (GIVEN.to_uppercase(), None),
            (GIVEN.replace("4bf9", "4bg9"), None),
            (GIVEN.replace("4bf9", "4Bf9"), None),
            (GIVEN.replace("4bf9", "+bf9"), None),
            (
                GIVEN.replace("4bf92f3577b34da6a3ce929d0e0e4736", zeros),
                None,
            ),
            (GIVEN.replace("00f067aa0ba902b7", &zeros[..16]), None),
            (GIVEN.replace('-', "_"), None),
            (GIVEN.replace("-01", "-0g"), None),
            (GIVEN.replace("-01", "-1"), None),
            (GIVEN.replace("-01", ""), None),
            (format!(" {GIVEN}"), None),
            (String::new(), None),
            ("é".repeat(30), None),
        ] {
            let found = TraceContext::parse(&value);
            assert_eq!(found.map(|trace| trace.sampled()), read, "{value}");
        }
    }

    #[tokio::test]
    async fn what_is_done_for_a_request_has_its_names() {
        assert_eq!(current(), None);
        assert_ne!(request_id(), request_id());
        let given = TraceContext::parse(GIVEN);
        Work::of(given)
            .scope(async {
                assert_eq!(current(), given);
                let id = request_id();
                assert_eq!(request_id(), id);
                let elsewhere = carry(async { (current(), request_id()) });
                assert_eq!(tokio::spawn(elsewhere).await.unwrap(), (given, id));
                assert_eq!(tokio::spawn(async { current() }).await.unwrap(), None);
                traced("in the trace that there is", async {
                    assert_eq!(current(), given);
                })
                .await;
                let mut headers = HeaderMap::new();
                inject(&mut headers);
                assert_eq!(headers[TRACEPARENT], GIVEN);
                headers.insert(TRACEPARENT, HeaderValue::from_static("the caller's own"));
                inject(&mut headers);
                assert_eq!(headers[TRACEPARENT], "the caller's own");
            })
            .await;
        let trace = || async { current().expect("it begins one") };
        let (one, two) = (traced("one", trace()).await, traced("two", trace()).await);
        assert_ne!(one, two);
        let mut headers = HeaderMap::new();
        inject(&mut headers);
        assert!(headers.is_empty(), "nobody is busy with anything");
    }

    #[test]
    fn requests_in_a_row_have_names_that_lie_together() {
        let names: Vec<_> = (0..3000).map(|_| request_id()).collect();
        let beginnings: HashSet<_> = names.iter().map(|name| &name[..8]).collect();
        assert!(beginnings.len() <= 60, "{}", beginnings.len());
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        assert!(names.iter().all(|name| name.len() == 22));
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_ignored(value in ".{0,80}") {
            if let Some(read) = TraceContext::parse(&value) {
                prop_assert_eq!(&value[3..52], &read.to_string()[3..52]);
            }
        }

        #[test]
        fn what_looks_like_one_is_read_the_same_way(
            value in "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"
        ) {
            let read = TraceContext::parse(&value);
            prop_assert_eq!(read.is_none(), value.starts_with("ff"));
        }
    }
}
