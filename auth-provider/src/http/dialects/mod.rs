<<<<<<< HEAD
//! What other systems call the same things. A dialect translates HTTP and nothing more: it asks the core, which finds who
//! it is, decides and signs, and puts the answer into the words that its callers know.

mod stytch;

use actix_web::web::ServiceConfig;

/// Adds the routes of every dialect.
pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.configure(stytch::routes);
=======
//! Other systems' ways to ask for the same: each file here translates one of them, and nothing more. Who may have what
//! is decided where it always is, so that callers can be moved over before they are rewritten.

mod mesh;

use actix_web::web::ServiceConfig;

/// Adds the routes of all dialects.
pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.configure(mesh::routes);
>>>>>>> main
}
