//! Other systems' ways to ask for the same: each file here translates one of them, and nothing more. Who may have what
//! is decided where it always is, so that callers can be moved over before they are rewritten.

mod mesh;
mod stytch;
mod supertokens;

use actix_web::web::ServiceConfig;

/// Adds the routes of all dialects.
pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.configure(mesh::routes);
    cfg.configure(stytch::routes);
    cfg.configure(supertokens::routes);
}
