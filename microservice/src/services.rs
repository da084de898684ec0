//! The services of the mesh: their names, and where they are.

use std::{collections::BTreeMap, fmt, str::FromStr};

use m2m::{is_loopback_host, service::Listen};
use url::Url;

/// A service's name: 1 to 64 letters, digits, `-`, `_` and `.`. The issuer knows it as a client, and
/// as the resource that tokens for it are for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceName(String);

impl ServiceName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no [`ServiceName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a service's name has 1 to 64 letters, digits, `-`, `_` and `.`, as in m1")]
pub struct NoServiceName;

impl FromStr for ServiceName {
    type Err = NoServiceName;

    fn from_str(text: &str) -> Result<Self, NoServiceName> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if text.is_empty() || text.len() > 64 || !text.bytes().all(fits) {
            return Err(NoServiceName);
        }
        Ok(Self(text.to_owned()))
    }
}

/// The map of the mesh. It has each name once, and each URL is one that a token may be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services(BTreeMap<ServiceName, Url>);

/// Why a text is no map of services.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoServices {
    /// It is not a list of pairs.
    #[error("write name=URL for each service, separated by commas: m1=http://localhost:8001")]
    Pairs,
    /// A name cannot be one.
    #[error(transparent)]
    Name(#[from] NoServiceName),
    /// Two URLs for one name.
    #[error("{0} is there twice: name each service once")]
    Twice(ServiceName),
    /// A URL is none, or has more in it than an address.
    #[error(
        "the URL of {0} must be like https://{0}.example.com, without credentials, query or fragment"
    )]
    Url(ServiceName),
    /// Tokens would cross a network in the clear.
    #[error(
        "the URL of {0} must be https: tokens are sent there, and plain HTTP is for this machine"
    )]
    Clear(ServiceName),
}

impl Services {
    /// The known service of that name, and the URL of its `/hello`.
    pub fn hello(&self, name: &str) -> Option<(&ServiceName, Url)> {
        let name = name.parse::<ServiceName>().ok()?;
        let (name, base) = self.0.get_key_value(&name)?;
        let mut url = base.clone();
        url.path_segments_mut()
            .expect("an http URL has a path")
            .pop_if_empty()
            .push("hello");
        Some((name, url))
    }

    /// The port of a service's own URL, if that is on this machine.
    pub fn local_port(&self, name: &ServiceName) -> Option<Listen> {
        let url = self.0.get(name).filter(|url| is_loopback_host(url))?;
        let port = url.port_or_known_default()?;
        Some(Listen::Loopback { port })
    }
}

/// The names, as a sentence has them: `m1, m2, m3`.
impl fmt::Display for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, name) in self.0.keys().enumerate() {
            write!(f, "{}{name}", if nth == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl FromStr for Services {
    type Err = NoServices;

    fn from_str(text: &str) -> Result<Self, NoServices> {
        let mut services = BTreeMap::new();
        for pair in text.split(',').map(str::trim) {
            let (name, url) = pair.split_once('=').ok_or(NoServices::Pairs)?;
            let name = name.trim().parse::<ServiceName>()?;
            let url = address(&name, url.trim())?;
            if services.insert(name.clone(), url).is_some() {
                return Err(NoServices::Twice(name));
            }
        }
        Ok(Self(services))
    }
}

fn address(name: &ServiceName, text: &str) -> Result<Url, NoServices> {
    let url = Url::parse(text).map_err(|_| NoServices::Url(name.clone()))?;
    let only_an_address = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    match url.scheme() {
        _ if !only_an_address => Err(NoServices::Url(name.clone())),
        "https" => Ok(url),
        "http" if is_loopback_host(&url) => Ok(url),
        "http" => Err(NoServices::Clear(name.clone())),
        _ => Err(NoServices::Url(name.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_has_each_service_once_at_a_place_where_tokens_are_safe() {
        for (text, says) in [
            ("", "name=URL"),
            ("m1", "name=URL"),
            ("m1=http://localhost:8001,", "name=URL"),
            ("m1=http://localhost:8001,m1=http://localhost:8002", "twice"),
            ("=http://localhost:8001", "a service's name"),
            ("m 1=http://localhost:8001", "a service's name"),
            ("m\"1=http://localhost:8001", "a service's name"),
            ("m1=", "the URL of m1"),
            ("m1=localhost:8001", "the URL of m1"),
            ("m1=ftp://localhost", "the URL of m1"),
            ("m1=http://me:hunter2@localhost:8001", "without credentials"),
            ("m1=http://localhost:8001?a=b", "without credentials"),
            ("m1=http://localhost:8001#a", "without credentials"),
            ("m1=http://m1.example.com", "must be https"),
            ("m1=http://localhost.example.com", "must be https"),
        ] {
            let error = text.parse::<Services>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_service_is_found_by_its_name_alone() {
        let text = "m2=https://example.com/mesh/m2/, m1=http://127.0.0.1:8001";
        let services = text.parse::<Services>().unwrap();
        let hello = |name| services.hello(name).map(|(_, url)| url.to_string());
        assert_eq!(hello("m1").unwrap(), "http://127.0.0.1:8001/hello");
        assert_eq!(hello("m2").unwrap(), "https://example.com/mesh/m2/hello");
        for name in [
            "",
            "m3",
            "M1",
            "m1 ",
            "m1=",
            "http://127.0.0.1:8001",
            "../m1",
        ] {
            assert_eq!(hello(name), None, "{name}");
        }
        assert_eq!(services.to_string(), "m1, m2");

        let port = |name: &str| services.local_port(&name.parse().unwrap());
        assert_eq!(port("m1"), Some(Listen::Loopback { port: 8001 }));
        assert_eq!(port("m2"), None, "it is on another machine");
        assert_eq!(port("m3"), None);
    }
}
