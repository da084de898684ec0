//! A server that takes tokens: what all of them do at start, in the order in which it can fail.

use std::{
    future::ready,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use actix_web::{dev::Server, web};

use prometheus_client::registry::Registry;

use super::{
    HttpMetrics, Listen, ListenError, Readiness, health_routes, metrics_resource,
    register_verifier, serve,
};
use crate::verify::Verifier;

/// What a resource server is told at start.
pub struct ResourceServer {
    /// Where to listen.
    pub listen: Listen,
    /// Whether a proxy in front of it speaks TLS. Without one, only this machine may reach the
    /// server: a bearer token that crosses a network in the clear is anybody's (RFC 6750 section
    /// 5.3).
    pub behind_tls_proxy: bool,
    /// Threads that serve requests; by default one per processor core.
    pub workers: Option<u16>,
    /// Decides which tokens are good.
    pub verifier: Verifier,
}

/// A server that listens.
pub struct Running {
    addresses: Vec<SocketAddr>,
    server: Server,
}

/// Why a resource server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Other machines could reach it, without TLS.
    #[error(
        "{0} can be reached from other machines, and tokens would travel unencrypted: listen on \
         localhost, or put a proxy that speaks TLS in front and say --behind-tls-proxy"
    )]
    Exposed(Listen),
    /// The address cannot be used.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The server cannot use its sockets.
    #[error("cannot serve")]
    Serve(#[from] io::Error),
}

impl ResourceServer {
    /// Listens and lays out `routes`, `/health`, `/ready` and `/metrics`. The issuer need not be up: its keys
    /// are fetched behind the callers, and until they are held, `/ready` and every check of a token
    /// answer 503. Must run inside a tokio runtime.
    ///
    /// Who has more to tell than every server has a route `/metrics` of its own, and finds what all
    /// tell in a [`Registry`] among the application's data.
    ///
    /// # Errors
    /// When the address is unsafe, taken, or cannot be used.
    pub fn start<F>(self, routes: F) -> Result<Running, StartError>
    where
        F: Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
    {
        self.start_with(Readiness::default(), routes)
    }

    /// The same for a server that depends on more than its issuer: `/ready` makes these checks as well.
    ///
    /// # Errors
    /// When the address is unsafe, taken, or cannot be used.
    pub fn start_with<F>(self, readiness: Readiness, routes: F) -> Result<Running, StartError>
    where
        F: Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
    {
        let Self {
            listen,
            behind_tls_proxy,
            workers,
            verifier,
        } = self;
        if !listen.is_loopback() && !behind_tls_proxy {
            return Err(StartError::Exposed(listen));
        }
        let listeners = listen.bind()?;
        let addresses = listeners
            .iter()
            .map(TcpListener::local_addr)
            .collect::<Result<_, _>>()?;
        let parts = verifier.parts().iter();
        let readiness = parts.fold(readiness, |readiness, part| {
            let verifier = verifier.clone();
            readiness.check(part.name(), move || ready(verifier.check(*part)))
        });
        let waiting = verifier.clone();
        tokio::spawn(async move { waiting.ready().await });
        let (metrics, mut registry) = (HttpMetrics::default(), Registry::default());
        metrics.register(&mut registry);
        register_verifier(&mut registry, verifier.clone());
        let registry = Arc::new(registry);
        let workers = workers.map(usize::from);
        let server = serve(listeners, workers, &metrics, move |cfg| {
            cfg.app_data(web::Data::new(verifier.clone()))
                .app_data(web::Data::from(Arc::clone(&registry)))
                .configure(health_routes(readiness.clone()))
                .configure(&routes)
                .service(metrics_resource());
        })?;
        Ok(Running { addresses, server })
    }
}

impl Running {
    /// The URL at which this machine reaches the server.
    pub fn url(&self) -> String {
        format!("http://{}", self.addresses[0])
    }

    /// Serves until SIGTERM, and lets requests in flight finish; SIGINT stops at once.
    ///
    /// # Errors
    /// When the server breaks down.
    pub async fn until_stopped(self) -> io::Result<()> {
        self.server.await
    }
}
