//! The smallest resource server that leaves the judging of tokens to its provider: it knows a URL
//! to ask at (RFC 7662), its own client id and secret, and the scope that it demands. No key, no
//! issuer's name; so any provider will do, also one with opaque tokens.
//!
//! A request passes through three files: [`http`] (what there is), [`guard`] (who may), [`refusal`]
//! (what who may not is told). Asking, remembering answers, timeouts and retries are
//! [`m2m::Verifier`]'s.

mod config;
pub mod guard;
pub mod http;
pub mod program;
pub mod refusal;

use std::time::Duration;

use actix_web::web::Data;
use m2m::{
    Clock, Revocation, Verifier,
    service::{ResourceServer, Running},
    verify::Introspection,
};

pub use config::Config;

use guard::Guard;

/// The service's entry in the clients file.
const CLIENT: &str = "resource-server";

/// Starts the service; it listens when this returns. The provider need not be up yet: until it has
/// answered a question, `/ready` says so and `/protected` answers 503. Must run inside a tokio
/// runtime.
///
/// # Errors
/// When the configuration is unsafe or the address cannot be listened on.
pub fn start(config: Config, clock: &Clock) -> anyhow::Result<Running> {
    let defaults = Introspection::default();
    let cache_for = Duration::from_secs(config.cache_seconds);
    let listen = config.listen();
    let verifier = Verifier::introspecting(config.introspect_url)
        .audience(config.audience)
        .revocation(Revocation::Introspection(Introspection {
            cache_for,
            cache_refusals_for: defaults.cache_refusals_for.min(cache_for),
            timeout: config.timeout,
        }))
        .clock(clock.clone());
    let verifier = match config.client {
        Some(client) => verifier.client(client.id, client.secret),
        None => verifier.client_from_file(config.clients_file, CLIENT),
    }
    .build()?;
    let guard = Data::new(Guard::new(verifier.clone(), config.required_scope.0));
    let server = ResourceServer {
        listen,
        behind_tls_proxy: config.behind_tls_proxy,
        workers: config.workers,
        verifier,
    };
    Ok(server.start(move |cfg| {
        cfg.app_data(guard.clone()).configure(http::routes);
    })?)
}
