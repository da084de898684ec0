//! Who may make this service call another one: the machine it runs on, and elsewhere whoever has a
//! token for it.

use std::pin::Pin;

use actix_web::{Error, FromRequest, HttpRequest, dev::Payload, http::header};
use m2m::{actix::Caller, is_loopback_host};
use url::Url;

use crate::http::Hello;

/// To whom the service is open without a token.
#[derive(Clone, Copy, Debug)]
pub struct OpenTo {
    /// Whether a peer at a loopback address is this machine. Behind a proxy it may be the proxy, and
    /// the caller anybody.
    this_machine: bool,
}

impl OpenTo {
    /// Open to this machine, unless there is a proxy in front.
    pub fn new(behind_proxy: bool) -> Self {
        Self {
            this_machine: !behind_proxy,
        }
    }

    /// Whether the request needs no token. Its `Host` must name this machine, too: a web page whose
    /// name was pointed at 127.0.0.1 (DNS rebinding) asks under its own name.
    fn admits(self, request: &HttpRequest) -> bool {
        let peer = request.peer_addr();
        let loopback = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
        let host = request.headers().get(header::HOST);
        let host =
            host.and_then(|host| Url::parse(&format!("http://{}", host.to_str().ok()?)).ok());
        self.this_machine && loopback && host.is_some_and(|host| is_loopback_host(&host))
    }
}

/// A request's content, from a caller on this machine or one with a token for this service. Nothing
/// of it is read before that is known.
pub struct FromHere<T>(pub T);

impl<T: FromRequest> FromRequest for FromHere<T> {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let open = request.app_data::<OpenTo>();
            if !open.is_some_and(|open| open.admits(&request)) {
                Caller::<Hello>::from_request(&request, &mut Payload::None).await?;
            }
            let content = T::from_request(&request, &mut payload).await;
            content.map(Self).map_err(Into::into)
        })
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn only_this_machine_asking_for_this_machine_needs_no_token() {
        for (behind_proxy, peer, host, admitted) in [
            (false, "127.0.0.1:50000", "localhost:8001", true),
            (false, "127.0.0.1:50000", "127.0.0.1:8001", true),
            (false, "127.9.9.9:50000", "localhost", true),
            (false, "[::1]:50000", "[::1]:8001", true),
            (false, "[::ffff:127.0.0.1]:50000", "localhost:8001", true),
            (false, "192.0.2.1:50000", "localhost:8001", false),
            (false, "[2001:db8::1]:50000", "localhost:8001", false),
            (false, "[::ffff:192.0.2.1]:50000", "localhost:8001", false),
            (false, "127.0.0.1:50000", "rebound.example.com:8001", false),
            (false, "127.0.0.1:50000", "localhost.example.com", false),
            (false, "127.0.0.1:50000", "", false),
            (true, "127.0.0.1:50000", "localhost:8001", false),
            (true, "192.0.2.1:50000", "localhost:8001", false),
        ] {
            let request = TestRequest::post()
                .peer_addr(peer.parse().unwrap())
                .insert_header((header::HOST, host))
                .to_http_request();
            let open_to = OpenTo::new(behind_proxy);
            assert_eq!(open_to.admits(&request), admitted, "{peer} asks {host}");
        }
        let nobody = TestRequest::post().to_http_request();
        assert!(!OpenTo::new(false).admits(&nobody));
    }
}
