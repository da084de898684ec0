//! The task that follows an issuer's revocation feed: connects, reads, connects again, and goes on
//! behind the last entry that it has seen.

use std::{sync::Arc, time::Duration};

use reqwest::{
    Client, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE},
};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, info, warn};
use url::Url;

use super::{
    Known,
    revoked::{Entry, Kept},
    sse::{Event, EventReader},
};
use crate::{
    credentials::OwnCredentials,
    issuer::Issuer,
    net::{self, FETCH_TIMEOUT, NetError, with_jitter},
};

/// A connection is given up when it brought nothing that belongs to a feed for so long. A sign of
/// life comes every 5 s; bytes alone are none.
const DEAD_AFTER: Duration = Duration::from_secs(15);

/// The first pause before connecting again. It doubles with each failure in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause, and the longest while nothing was ever heard: then somebody may wait for it.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The pause before an issuer that has no feed is asked whether it has one now.
const NOT_OFFERED_PAUSE: Duration = Duration::from_mins(5);

/// What was revoked and has expired is forgotten at most so often, in seconds.
const SWEEP_PAUSE: u64 = 60;

/// Follows one feed.
pub(super) struct Follower {
    known: Arc<Known>,
    issuer: Issuer,
    credentials: Arc<OwnCredentials>,
    http: Client,
    dead_after: Duration,
    /// From the issuer's metadata; asked anew when it cannot be connected to.
    url: Option<Url>,
    /// The number of the last entry that was seen.
    last_seen: Option<u64>,
    /// When to sweep next, in seconds since the Unix epoch.
    sweep_at: u64,
    /// It was said in the log that there are entries that cannot be understood.
    complained: bool,
}

/// Why a feed is not followed at the moment.
#[derive(Debug)]
enum Ended {
    /// The issuer has none.
    NotOffered,
    /// This service may not follow it.
    Refused(String),
    /// It may work in a moment: the issuer does not answer, or has not yet written down who this
    /// service is.
    Broken(String),
    /// It was followed, and the issuer ended the connection in good order.
    Closed,
}

/// One connection, as far as it was read.
#[derive(Default)]
struct Connection {
    reader: EventReader,
    /// All that was revoked before it was made is known.
    caught_up: bool,
}

/// What an event says about its feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// It is alive.
    Alive,
    /// It is alive, and everything is known.
    Current,
    /// It means nothing here.
    None,
    /// It has more entries than can be kept.
    TooMany,
}

impl Follower {
    pub(super) fn new(known: Arc<Known>, issuer: Issuer, credentials: Arc<OwnCredentials>) -> Self {
        Self {
            known,
            issuer,
            credentials,
            http: net::stream_client(DEAD_AFTER),
            dead_after: DEAD_AFTER,
            url: None,
            last_seen: None,
            sweep_at: 0,
            complained: false,
        }
    }

    /// Follows the feed for ever.
    pub(super) async fn follow(mut self) {
        let mut failures = 0;
        loop {
            let mut connection = Connection::default();
            let ended = match self.connect().await {
                Ok(response) => self.read(response, &mut connection).await,
                Err(ended) => {
                    self.url = None;
                    ended
                }
            };
            self.known.mark_cut();
            if matches!(ended, Ended::NotOffered | Ended::Refused(_)) {
                self.known.settle(); // waiting would not help
            }
            self.report(&ended);
            failures = if connection.caught_up {
                0
            } else {
                failures + 1
            };
            tokio::time::sleep(self.pause(&ended, failures)).await;
        }
    }

    async fn connect(&mut self) -> Result<Response, Ended> {
        let credentials = self.credentials.get().await.map_err(Ended::Broken)?;
        let url = match self.url.take() {
            Some(url) => url,
            None => self.discover().await?,
        };
        let mut request = self
            .http
            .get(url.clone())
            .header(AUTHORIZATION, credentials.header())
            .header(ACCEPT, "text/event-stream")
            .header(CACHE_CONTROL, "no-store");
        if let Some(seen) = self.last_seen {
            request = request.header("Last-Event-ID", seen);
        }
        let response = match timeout(FETCH_TIMEOUT, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let error = NetError::unreachable(&url, error.without_url());
                return Err(Ended::Broken(error.chain()));
            }
            Err(late) => return Err(Ended::Broken(NetError::unreachable(&url, late).chain())),
        };
        let status = response.status();
        match status {
            StatusCode::OK if is_event_stream(&response) => {
                self.url = Some(url);
                Ok(response)
            }
            StatusCode::OK => Err(Ended::Broken(format!("{url} answers with no event stream"))),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                self.credentials.refused();
                let status = status.as_u16();
                Err(Ended::Refused(format!(
                    "{url} answers with status {status}"
                )))
            }
            _ => {
                let status = status.as_u16();
                Err(Ended::Broken(format!("{url} answers with status {status}")))
            }
        }
    }

    async fn discover(&self) -> Result<Url, Ended> {
        // The client is made for answers without an end; this one has one.
        match timeout(FETCH_TIMEOUT, self.issuer.revocations_endpoint(&self.http)).await {
            Ok(Ok(Some(url))) => Ok(url),
            Ok(Ok(None)) => Err(Ended::NotOffered),
            Ok(Err(error)) => Err(Ended::Broken(error.chain())),
            Err(late) => {
                let error = NetError::unreachable(self.issuer.url(), late);
                Err(Ended::Broken(error.chain()))
            }
        }
    }

    /// Reads until the connection ends, and says why it did.
    async fn read(&mut self, mut response: Response, connection: &mut Connection) -> Ended {
        let mut dead_at = Instant::now() + self.dead_after;
        loop {
            let chunk = match timeout_at(dead_at, response.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return Ended::Closed,
                Ok(Err(error)) => {
                    let error = NetError::unreachable(response.url(), error.without_url());
                    return Ended::Broken(error.chain());
                }
                Err(_) => return Ended::Broken("the issuer has fallen silent".to_owned()),
            };
            match self.take_in(&chunk, connection) {
                Ok(true) => dead_at = Instant::now() + self.dead_after,
                Ok(false) => {}
                Err(reason) => return Ended::Broken(reason),
            }
        }
    }

    /// Takes in the next bytes; true when there was a sign of life among them.
    fn take_in(&mut self, bytes: &[u8], connection: &mut Connection) -> Result<bool, String> {
        let Connection { reader, caught_up } = connection;
        let (mut alive, mut too_many) = (false, false);
        let read = reader.read(bytes, |event| {
            let sign = self.obey(&event, caught_up);
            alive |= matches!(sign, Sign::Alive | Sign::Current);
            too_many |= sign == Sign::TooMany;
            // What cannot be kept is not known, whatever the feed says afterwards.
            if sign == Sign::Current && !too_many {
                self.mark_current();
            }
        });
        read.map_err(|error| error.to_string())?;
        if too_many {
            return Err("there are more revocations than can be kept".to_owned());
        }
        Ok(alive)
    }

    fn obey(&mut self, event: &Event, caught_up: &mut bool) -> Sign {
        let sign = match event.name.as_str() {
            "revocation" => self.keep(&event.data),
            "current" => {
                *caught_up = true;
                Sign::Current
            }
            // Before everything was sent, a heartbeat says only that more is to come.
            "heartbeat" if *caught_up => Sign::Current,
            "heartbeat" => Sign::Alive,
            // Its numbers begin anew. What was revoked stays revoked: a token does not become good
            // because the issuer lost its memory.
            "reset" => {
                info!("{} counts its revocations anew", self.issuer.as_str());
                (self.last_seen, *caught_up) = (None, false);
                Sign::Alive
            }
            _ => Sign::None,
        };
        // Only now: what was not kept must be sent again.
        if !matches!(sign, Sign::TooMany | Sign::None)
            && let Some(id) = event.id.as_deref().and_then(|id| id.parse().ok())
        {
            self.last_seen = Some(id);
        }
        sign
    }

    /// An entry that cannot be understood is skipped: a newer issuer may have kinds that are not
    /// known here, and one of them must not keep the others from being obeyed.
    fn keep(&mut self, data: &str) -> Sign {
        let kept = serde_json::from_str::<Entry>(data).map(|entry| {
            let Known {
                audience, clock, ..
            } = &*self.known;
            self.known.revoked.add(entry, audience, clock.now())
        });
        let complaint = match kept {
            Ok(Kept::Yes | Kept::NoNeed) => return Sign::Alive,
            Ok(Kept::Full) => return Sign::TooMany,
            Ok(Kept::UnknownKind) => "is of a kind that this version does not know",
            Err(_) => "cannot be read",
        };
        if !std::mem::replace(&mut self.complained, true) {
            let issuer = self.issuer.as_str();
            warn!("skips each revocation of {issuer} that {complaint}");
        }
        Sign::Alive
    }

    fn mark_current(&mut self) {
        let issuer = self.issuer.as_str();
        let is_first = self
            .known
            .current_at
            .load(std::sync::atomic::Ordering::Relaxed)
            == 0;
        self.known.mark_current();
        if self.known.set_failure(None) || is_first {
            info!("follows the revocations of {issuer}");
        }
        let now = self.known.clock.now();
        if now >= self.sweep_at {
            self.known.revoked.sweep(now);
            self.sweep_at = now + SWEEP_PAUSE;
        }
    }

    /// How long to wait before connecting again.
    fn pause(&self, ended: &Ended, failures: u32) -> Duration {
        let longest = match ended {
            Ended::NotOffered => return with_jitter(NOT_OFFERED_PAUSE),
            _ if self.known.was_ever_current() => LONGEST_PAUSE,
            _ => LONGEST_FIRST_PAUSE,
        };
        with_jitter((FIRST_PAUSE * 2_u32.pow(failures.min(10))).min(longest))
    }

    /// Each reason is logged once in a row.
    fn report(&self, ended: &Ended) {
        let issuer = self.issuer.as_str();
        let reason = match ended {
            Ended::NotOffered => "it offers no revocation feed",
            Ended::Closed => "the issuer ended the connection",
            Ended::Refused(reason) | Ended::Broken(reason) => reason,
        };
        let is_new = self.known.set_failure(Some(reason.to_owned()));
        match ended {
            // Issuers do so from time to time; if it does not come back, the next attempt says why.
            Ended::Closed => debug!("the revocations of {issuer} are taken up again: {reason}"),
            _ if is_new => warn!("does not follow the revocations of {issuer}: {reason}"),
            _ => {}
        }
    }
}

fn is_event_stream(response: &Response) -> bool {
    response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| {
            let kind = kind.split(';').next().unwrap_or(kind);
            kind.trim().eq_ignore_ascii_case("text/event-stream")
        })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use serde_json::{Value, json};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::{ManualClock, credentials::CredentialSource};

    const NOW: u64 = 1_800_000_000;

    fn follower(hand: &ManualClock) -> Follower {
        let credentials = OwnCredentials::new(CredentialSource::Given {
            client_id: "notes".to_owned(),
            secret: "secret".into(),
        });
        Follower::new(
            Arc::new(Known::new("notes".to_owned(), hand.clock())),
            Issuer::new("http://127.0.0.1:1".to_owned()).unwrap(),
            Arc::new(credentials.unwrap()),
        )
    }

    fn revocation(number: u64, entry: &Value) -> String {
        format!("id: {number}\nevent: revocation\ndata: {entry}\n\n")
    }

    #[tokio::test]
    async fn bytes_that_never_become_an_event_are_no_sign_of_life() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut drip = tokio::time::interval(Duration::from_millis(1));
            // Comments are whole lines, and still nothing.
            for byte in b": still here\n\nevent: x\ndata: x\n\n".iter().cycle() {
                drip.tick().await;
                if stream.write_all(&[*byte]).await.is_err() {
                    break;
                }
            }
        });
        let mut follower = follower(&ManualClock::at(NOW));
        follower.dead_after = Duration::from_millis(100);
        follower.url = Some(format!("http://{address}/feed").parse().unwrap());
        let response = follower.connect().await.unwrap();
        let mut connection = Connection::default();
        let Ended::Broken(reason) = follower.read(response, &mut connection).await else {
            panic!("it was followed");
        };
        assert_eq!(reason, "the issuer has fallen silent");
        assert!(!follower.known.was_ever_current());
    }

    /// Two servers of the issuer took the token back in the same moment.
    #[test]
    fn an_entry_that_comes_twice_is_one() {
        let hand = ManualClock::at(NOW);
        let mut follower = follower(&hand);
        let mut connection = Connection::default();
        for number in 1..=2 {
            let entry = json!({"kind": "token", "jti": "a", "revoked_at": NOW + number,
                "expires_at": NOW + 10});
            let bytes = revocation(number, &entry);
            assert_eq!(
                follower.take_in(bytes.as_bytes(), &mut connection),
                Ok(true)
            );
        }
        let count = || follower.known.revoked.count.load(Ordering::Relaxed);
        assert_eq!((count(), follower.last_seen), (1, Some(2)));
        hand.advance(Duration::from_mins(2));
        follower.known.revoked.sweep(hand.clock().now());
        assert_eq!(count(), 0);
    }

    #[test]
    fn what_has_expired_is_forgotten() {
        let hand = ManualClock::at(NOW);
        let mut follower = follower(&hand);
        let mut connection = Connection::default();
        for number in 1..=100 {
            let end = NOW + 10 * number;
            let entry = json!({"kind": "token", "jti": number.to_string(), "revoked_at": NOW,
                "expires_at": end});
            let bytes = revocation(number, &entry);
            assert_eq!(
                follower.take_in(bytes.as_bytes(), &mut connection),
                Ok(true)
            );
        }
        let mut count_after = |seconds| {
            hand.advance(Duration::from_secs(seconds));
            let current = b"event: current\ndata: {}\n\n";
            follower.take_in(current, &mut connection).unwrap();
            follower.known.revoked.count.load(Ordering::Relaxed)
        };
        assert_eq!(count_after(0), 100);
        assert_eq!(
            count_after(100),
            97,
            "a minute longer than it was to be kept"
        );
        assert_eq!(count_after(59), 97, "at most once a minute");
        assert_eq!(count_after(1), 91);
        assert_eq!(count_after(3600), 0);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_make_old_news_fresh() {
        let (late, early) = (ManualClock::at(NOW + 3600), ManualClock::at(NOW));
        let mut known = Known::new("notes".to_owned(), late.clock());
        known.mark_current();
        known.clock = early.clock();
        known.mark_cut();
        assert_eq!(known.current_at.load(Ordering::Relaxed), NOW * 1000);
    }
}
