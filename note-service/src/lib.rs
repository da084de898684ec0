//! The notes: a resource server that keeps them in memory and asks each caller for a token with the
//! audience `note-service` and the scope `note.read` or `note.write`.
//!
//! A request passes through three files: [`http`] (who may, what is asked), [`note`] (what a note
//! is), [`store`] (where it is kept).

mod config;
pub mod http;
pub mod note;
pub mod program;
pub mod store;

use actix_web::web;
use m2m::{
    Clock,
    service::{ResourceServer, Running},
    verify::Verifier,
};

pub use config::Config;

use store::NoteStore;

/// The service's entry in the clients file.
const CLIENT: &str = "note-service";

/// Starts the service; it listens when this returns. The issuer need not be up yet: until its keys
/// have been fetched, `/ready` and every protected path answer 503. Must run inside a tokio
/// runtime.
///
/// # Errors
/// When the configuration is unsafe or the address cannot be listened on.
pub fn start(config: Config, clock: &Clock) -> anyhow::Result<Running> {
    let verifier = Verifier::builder(config.issuer)
        .audience(config.audience)
        .revocation(config.revocation.with(config.when_feed_is_stale))
        .clock(clock.clone());
    let verifier = match config.client {
        Some(client) => verifier.client(client.id, client.secret),
        None => verifier.client_from_file(config.clients_file, CLIENT),
    };
    let store = web::Data::new(NoteStore::with_sample());
    let server = ResourceServer {
        listen: config.listen,
        behind_tls_proxy: config.behind_tls_proxy,
        workers: config.workers,
        verifier: verifier.build()?,
    };
    Ok(server.start(move |cfg| {
        cfg.app_data(store.clone()).configure(http::routes);
    })?)
}
