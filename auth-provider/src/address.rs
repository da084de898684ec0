//! Where a request comes from.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

/// The address of a caller. One that IPv6 only carries (`::ffff:192.0.2.1`) is the IPv4 address that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallerAddress(IpAddr);

/// What counts as one caller by its address: an IPv4 address, or an IPv6 network of 64 bits, the least that a
/// subscriber gets and may choose addresses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

impl CallerAddress {
    /// As proxies write it: IPv6 with brackets or without, with a port or without.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches([' ', '\t']);
        let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
        let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
        let bare = text.parse::<IpAddr>().ok();
        bare.or_else(with_port)
            .or_else(|| bracketed().map(IpAddr::V6))
            .map(Self::from)
    }

    pub fn ip(self) -> IpAddr {
        self.0
    }

    /// The network whose callers are counted together.
    pub fn network(self) -> Network {
        Network(match self.0 {
            IpAddr::V4(_) => self.0,
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        })
    }
}

impl From<IpAddr> for CallerAddress {
    fn from(ip: IpAddr) -> Self {
        Self(ip.to_canonical())
    }
}

impl fmt::Display for CallerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(ip) => ip.fmt(f),
            IpAddr::V6(ip) => write!(f, "{ip}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_proxies_write_it() {
        for (text, address) in [
            ("192.0.2.1", Some("192.0.2.1")),
            (" \t192.0.2.1 ", Some("192.0.2.1")),
            ("192.0.2.1:4711", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:4711", Some("2001:db8::1")),
            ("2001:0DB8:0::0001", Some("2001:db8::1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("[::ffff:192.0.2.1]:80", Some("192.0.2.1")),
            ("", None),
            ("unknown", None),
            ("_hidden", None),
            ("proxy.example.com", None),
            ("192.0.2.1:", None),
            ("192.0.2.1:99999", None),
            ("192.0.2", None),
            ("192.0.2.1/24", None),
            ("192.0.2.01", None),
            ("[192.0.2.1]", None),
            ("[2001:db8::1", None),
            ("2001:db8::1]", None),
            ("\"192.0.2.1\"", None),
            ("192.0.2.1 192.0.2.2", None),
            ("::1%eth0", None),
        ] {
            let read = CallerAddress::parse(text).map(|address| address.to_string());
            assert_eq!(read.as_deref(), address, "{text:?}");
        }
    }

    #[test]
    fn ipv6_counts_by_its_first_64_bits() {
        for (one, other, network) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::ffff:1:2:3", "2001:db8::/64"),
            ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ] {
            let [one, other] = [one, other].map(|text| CallerAddress::parse(text).unwrap());
            assert_eq!(one.network(), other.network());
            assert_eq!(one.network().to_string(), network);
        }
        let [one, other] = ["2001:db8::1", "2001:db8:0:1::1"].map(CallerAddress::parse);
        assert_ne!(one.unwrap().network(), other.unwrap().network());
    }
}
