//! Where a server listens.

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    str::FromStr,
};

use tokio::net::TcpSocket;

/// Connections that may wait to be accepted, per address.
const BACKLOG: u32 = 1024;

/// An address to listen on: `localhost:PORT` for both loopback addresses, or one `IP:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// 127.0.0.1 and, where there is IPv6, `::1`.
    Loopback {
        /// 0 lets the system choose one.
        port: u16,
    },
    /// This one address.
    At(SocketAddr),
}

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else listens there.
    #[error(
        "{0} is in use: stop the program that listens there, or choose another address with --listen"
    )]
    InUse(SocketAddr),
    /// Anything else: no permission, no such address.
    #[error("cannot listen on {0}")]
    Other(SocketAddr, #[source] io::Error),
}

impl Listen {
    /// Whether only this machine can reach it.
    pub fn is_loopback(self) -> bool {
        match self {
            Self::Loopback { .. } => true,
            Self::At(address) => address.ip().is_loopback(),
        }
    }

    /// Opens the listening sockets. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// When an address is taken or cannot be used. A machine without IPv6 is no error.
    pub fn bind(self) -> Result<Vec<TcpListener>, ListenError> {
        let port = match self {
            Self::At(address) => return Ok(vec![listen_at(address)?]),
            Self::Loopback { port } => port,
        };
        let v4 = listen_at(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        let port = v4.local_addr().map_or(port, |address| address.port());
        match listen_at(SocketAddr::from((Ipv6Addr::LOCALHOST, port))) {
            Ok(v6) => Ok(vec![v4, v6]),
            Err(ListenError::InUse(address)) => Err(ListenError::InUse(address)),
            Err(ListenError::Other(..)) => Ok(vec![v4]),
        }
    }
}

fn listen_at(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let open = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        socket.set_reuseaddr(true)?; // a restart does not wait for the last connections' TIME_WAIT
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    open().map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse(address),
        _ => ListenError::Other(address, error),
    })
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(port) = text.strip_prefix("localhost:")
            && let Ok(port) = port.parse()
        {
            return Ok(Self::Loopback { port });
        }
        text.parse().map(Self::At).map_err(|_| {
            format!("`{text}` is no address to listen on: write localhost:3001 or 127.0.0.1:3001")
        })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback { port } => write!(f, "localhost:{port}"),
            Self::At(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_written_alike() {
        for text in ["localhost:3001", "127.0.0.1:0", "[::1]:80", "0.0.0.0:443"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "3001",
            ":3001",
            "localhost",
            "localhost:99999",
            "example.com:80",
        ] {
            assert!(text.parse::<Listen>().is_err(), "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_said_to_be_taken() {
        let first = Listen::Loopback { port: 0 }.bind().unwrap();
        let port = first[0].local_addr().unwrap().port();
        let second = Listen::Loopback { port }.bind();
        assert!(matches!(second, Err(ListenError::InUse(address)) if address.port() == port));
    }
}
