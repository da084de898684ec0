//! One service of a mesh: it greets whoever has a token for it, and calls the other services with
//! tokens of its own. The same program is `m1`, `m2` and `m3`.
//!
//! It is both halves of `m2m` in one place: a [`Verifier`] before `GET /hello`, a [`TokenSource`]
//! behind `POST /query`. A request passes through four files: [`http`] (what there is), [`local`] (who
//! may ask), [`query`] (what is asked), [`mesh`] (the call to another service). [`services`] knows who
//! the others are.

mod config;
pub mod http;
pub mod local;
pub mod mesh;
pub mod program;
pub mod query;
pub mod services;

use std::time::Duration;

use actix_web::web;
use m2m::{
    Clock, TokenSource, http_client,
    service::{ResourceServer, Running},
    verify::Verifier,
};

pub use config::{Config, UnknownAddress};

use local::OpenTo;
use mesh::Mesh;

/// How long another service may take for its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts the service; it listens when this returns. Neither the provider nor the other services
/// need be up. Must run inside a tokio runtime.
///
/// # Errors
/// When the configuration is unsafe or the address cannot be listened on.
pub fn start(config: Config, clock: &Clock) -> anyhow::Result<Running> {
    let listen = config.listens_on()?;
    let (issuer, name) = (config.issuer, config.name);
    let verifier = Verifier::builder(&issuer)
        .audience(name.as_str())
        .revocation(config.revocation.with(config.when_feed_is_stale))
        .clock(clock.clone());
    let (verifier, tokens) = match config.client {
        Some(client) => (
            verifier.client(&client.id, client.secret.clone()),
            TokenSource::builder(issuer, client.id, client.secret),
        ),
        None => (
            verifier.client_from_file(&config.clients_file, name.as_str()),
            TokenSource::from_file(issuer, config.clients_file, name.as_str()),
        ),
    };
    let open_to = OpenTo::new(config.behind_tls_proxy);
    let mesh = web::Data::new(Mesh {
        me: name,
        services: config.services,
        tokens: tokens.clock(clock.clone()).build()?,
        http: http_client(PATIENCE),
    });
    let server = ResourceServer {
        listen,
        behind_tls_proxy: config.behind_tls_proxy,
        workers: config.workers,
        verifier: verifier.build()?,
    };
    Ok(server.start(move |cfg| {
        cfg.app_data(mesh.clone())
            .app_data(open_to)
            .configure(http::routes);
    })?)
}
