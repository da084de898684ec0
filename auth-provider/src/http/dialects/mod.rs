//! What other systems call the same things. A dialect translates HTTP and nothing more: it asks the core, which finds who
//! it is, decides and signs, and puts the answer into the words that its callers know.

mod supertokens;

use actix_web::web::ServiceConfig;

/// Adds the routes of every dialect.
pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.configure(supertokens::routes);
}
