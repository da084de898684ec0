//! Who is let in: the one decision of this service.

use std::sync::Arc;

use actix_web::HttpRequest;
use m2m::{ScopeSet, VerifiedToken, Verifier, actix::bearer_token};
use tracing::debug;

use crate::refusal::{Reason, Refusal};

/// Lets in whoever brings an active token with the scope.
pub struct Guard {
    verifier: Verifier,
    required: ScopeSet,
}

impl Guard {
    /// `required` are the scopes that a token must have, all of them.
    pub fn new(verifier: Verifier, required: ScopeSet) -> Self {
        Self { verifier, required }
    }

    /// The token of a caller who may come in.
    ///
    /// # Errors
    /// When there is no token, when the provider does not vouch for it, when it lacks the scope, and
    /// when the provider cannot be asked: what is in doubt is refused.
    pub async fn admit(&self, request: &HttpRequest) -> Result<Arc<VerifiedToken>, Refusal> {
        let verdict = match bearer_token(request) {
            Ok(token) => self.verifier.verify(token).await,
            Err(no_token) => Err(no_token),
        };
        let refused = |reason| Refusal::new(self.verifier.audience(), reason);
        let token = verdict.map_err(|error| {
            // Here, and not in the answer: the reason may tell what the provider said.
            debug!("refused a request: {error}");
            refused(Reason::from(error))
        })?;
        if !self.required.is_subset(token.scopes()) {
            return Err(refused(Reason::InsufficientScope(self.required.clone())));
        }
        Ok(token)
    }
}
