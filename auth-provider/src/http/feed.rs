//! `GET /oauth/revocations`: what was taken back, as a list, or followed as Server-Sent Events.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, ETag, EntityTag, Header, IfNoneMatch},
    },
    web::{Bytes, Data},
};
use futures_util::{Stream, stream};
use serde_json::json;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, timeout_at},
};

use super::client_auth;
use crate::{
    client::ClientRecord,
    error::{ErrorCode, OAuthError},
    resource::ResourceId,
    server::AuthServer,
};

/// A follower that hears nothing for a few of these knows that the line is dead.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long one connection is followed. Then the follower comes back, and has to prove again who it is.
const LIFE: Duration = Duration::from_mins(10);

/// The last number that a follower has seen (it belongs to the HTML standard's event streams).
const LAST_EVENT_ID: &str = "last-event-id";

/// `GET /oauth/revocations`
pub(super) async fn revocations(
    server: Data<AuthServer>,
    request: HttpRequest,
) -> Result<HttpResponse, OAuthError> {
    let client = client_auth::client_of(&server, &request).await?;
    if !server.contact.goes_on() {
        let reason = "the list of revocations may be out of date: try again in a moment";
        return Err(OAuthError::new(ErrorCode::TemporarilyUnavailable, reason));
    }
    if client.owns.is_empty() {
        let reason = "this client owns no resource: name it as owner of one in the policy";
        let error = OAuthError::new(ErrorCode::UnauthorizedClient, reason).of_client(&client.id);
        return Err(error.status(StatusCode::FORBIDDEN));
    }
    let accept = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("text/event-stream")) {
        follow(server, &client, &request)
    } else {
        Ok(snapshot(&server, &client, &request))
    }
}

fn snapshot(server: &AuthServer, client: &ClientRecord, request: &HttpRequest) -> HttpResponse {
    let (entries, last) = server.revocations.after(0);
    let entries = entries.iter().filter(|entry| entry.concerns(&client.owns));
    let entries: Vec<_> = entries.map(|entry| entry.entry()).collect();
    // Only a new number or a sweep changes the list.
    let etag = EntityTag::new_strong(format!("{last}-{}", entries.len()));
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .insert_header(ETag(etag.clone()));
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Items(tags)) if tags.iter().any(|tag| tag.weak_eq(&etag)) => {
            answer.status(StatusCode::NOT_MODIFIED).finish()
        }
        _ => answer.json(json!({"last": last, "revocations": entries})),
    }
}

fn follow(
    server: Data<AuthServer>,
    client: &ClientRecord,
    request: &HttpRequest,
) -> Result<HttpResponse, OAuthError> {
    let Ok(place) = Arc::clone(&server.followers).try_acquire_owned() else {
        let reason = "too many followers: use the JSON list, or try again in a moment";
        return Err(OAuthError::new(ErrorCode::TemporarilyUnavailable, reason));
    };
    let seen = request.headers().get(LAST_EVENT_ID);
    let seen = seen.and_then(|seen| seen.to_str().ok()?.parse().ok());
    let follower = Follower::new(server, client.owns.to_vec(), seen.unwrap_or(0), place);
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no")) // nginx would hold the events back
        .content_type("text/event-stream")
        .streaming(follower.events()))
}

/// One connection that is followed.
struct Follower {
    server: Data<AuthServer>,
    resources: Vec<ResourceId>,
    /// What is still to be said.
    outbox: VecDeque<String>,
    /// Up to here it knows everything that concerns it.
    seen: u64,
    last: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    until: Instant,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    fn new(
        server: Data<AuthServer>,
        resources: Vec<ResourceId>,
        mut seen: u64,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let mut outbox = VecDeque::new();
        let last = server.revocations.follow();
        if seen > *last.borrow() {
            // It knows numbers that this server never gave: the database was made anew.
            outbox.push_back("event: reset\ndata: {}\n\n".to_owned());
            seen = 0;
        }
        let stopping = server.stopping.subscribe();
        let mut follower = Self {
            server,
            resources,
            outbox,
            seen,
            last,
            stopping,
            until: Instant::now() + LIFE,
            _place: place,
        };
        follower.collect();
        let current = format!("event: current\nid: {}\ndata: {{}}\n\n", follower.seen);
        follower.outbox.push_back(current);
        follower
    }

    fn events(self) -> impl Stream<Item = Result<Bytes, OAuthError>> {
        stream::unfold(self, async |mut follower| {
            let text = follower.next().await?;
            Some((Ok(Bytes::from(text)), follower))
        })
    }

    /// The next thing to say; `None` ends the stream.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(text) = self.outbox.pop_front() {
                return Some(text);
            }
            let heartbeat = Instant::now() + HEARTBEAT;
            if *self.stopping.borrow() || self.until <= heartbeat {
                return None;
            }
            tokio::select! {
                news = timeout_at(heartbeat, self.last.changed()) => match news {
                    Ok(Ok(())) => self.collect(),
                    Ok(Err(_)) => return None,
                    // A heartbeat says that all is told: who cannot know must not say so.
                    Err(_) if !self.server.contact.goes_on() => return None,
                    Err(_) => return Some("event: heartbeat\ndata: {}\n\n".to_owned()),
                },
                _ = self.stopping.changed() => return None,
            }
        }
    }

    fn collect(&mut self) {
        self.last.mark_unchanged();
        let (entries, last) = self.server.revocations.after(self.seen);
        for entry in entries
            .iter()
            .filter(|entry| entry.concerns(&self.resources))
        {
            let data = serde_json::to_string(&entry.entry()).expect("strings and numbers");
            let event = format!("id: {}\nevent: revocation\ndata: {data}\n\n", entry.number);
            self.outbox.push_back(event);
        }
        self.seen = last;
    }
}
