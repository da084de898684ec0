//! Whose request is it? The only place that reads `X-Forwarded-For`.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::{HttpRequest, http::header::HeaderMap};

use crate::{address::CallerAddress, server::AuthServer};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address at the other end of the connection, or, behind a proxy, the one that this proxy saw.
pub(super) fn caller_address(request: &HttpRequest, server: &AuthServer) -> CallerAddress {
    let peer = || {
        let peer = request.peer_addr().map(|peer| peer.ip());
        CallerAddress::from(peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    };
    let forwarded = server
        .behind_tls_proxy
        .then(|| forwarded(request.headers()));
    forwarded.flatten().unwrap_or_else(peer)
}

/// Only the last address is the proxy's word: what stands before it, the caller may have sent itself. When the last
/// one is no address, none is taken.
fn forwarded(headers: &HeaderMap) -> Option<CallerAddress> {
    let header = headers.get_all(FORWARDED_FOR).last()?;
    let last = header.as_bytes().rsplit(|byte| *byte == b',').next()?;
    CallerAddress::parse(str::from_utf8(last).ok()?)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn only_the_last_address_counts() {
        for (headers, address) in [
            (&[][..], None),
            (&["192.0.2.1"][..], Some("192.0.2.1")),
            (&["203.0.113.9, 192.0.2.1"], Some("192.0.2.1")),
            (&["203.0.113.9,192.0.2.1:4711"], Some("192.0.2.1")),
            (&["é, \", [::ffff:192.0.2.1]:80"], Some("192.0.2.1")),
            (&["203.0.113.9", "192.0.2.1"], Some("192.0.2.1")),
            (
                &["192.0.2.1", "203.0.113.9, 2001:db8::1"],
                Some("2001:db8::1"),
            ),
            (&["192.0.2.1,"], None),
            (&["192.0.2.1, unknown"], None),
            (&["192.0.2.1", ""], None),
            (&["192.0.2.1, é"], None),
            (&["for=192.0.2.1"], None),
        ] {
            let mut request = TestRequest::default();
            for header in headers {
                request = request.append_header((FORWARDED_FOR, *header));
            }
            let read = forwarded(request.to_http_request().headers());
            let read = read.map(|address| address.to_string());
            assert_eq!(read.as_deref(), address, "{headers:?}");
        }
    }
}
