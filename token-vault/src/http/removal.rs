//! The right to be forgotten.

use actix_web::web::{Data, Json};
use m2m::{
    AnyScope, TokenError,
    actix::refused,
    service::{Authorized, Problem},
};
use serde_json::{Value, json};

use super::{
    Server,
    caller::{About, Access, Delete, Who},
    query::{OfUser, One},
};
use crate::{
    connection::{Service, User},
    storage::Listing,
    vault::{MOST_AT_ONCE, Vault, VaultError},
};

pub(super) async fn forget(
    request: About<Delete, One>,
    server: Data<Server>,
) -> Result<Json<Value>, Problem> {
    let About {
        who,
        provider,
        input,
        ..
    } = request;
    let key = who.key(&provider, input.user, input.account);
    let forgotten = server
        .vault
        .forget(who.actor(), Some(&provider), &key)
        .await?;
    Ok(Json(
        json!({"forgotten": 1, "revoked_at_provider": forgotten.revoked}),
    ))
}

pub(super) async fn forget_all(
    request: About<Delete, OfUser>,
    server: Data<Server>,
) -> Result<Json<Value>, Problem> {
    let About {
        who,
        provider,
        input: OfUser(user),
        ..
    } = request;
    Ok(Json(
        forget_each(&server, &who, &user, Some(&provider.service)).await?,
    ))
}

/// A token for one service only does not do here.
pub(super) async fn forget_user(
    request: Authorized<AnyScope, OfUser>,
    server: Data<Server>,
) -> Result<Json<Value>, Problem> {
    let Authorized {
        caller,
        input: OfUser(user),
    } = request;
    if !caller.scopes().contains(Delete::SCOPE) {
        return Err(refused(
            TokenError::InsufficientScope {
                required: Delete::SCOPE,
            },
            caller.audience(),
        ));
    }
    Ok(Json(
        forget_each(&server, &server.who(caller)?, &user, None).await?,
    ))
}

/// Forgets all connections of a user, of one service or of all.
async fn forget_each(
    server: &Server,
    who: &Who,
    user: &User,
    service: Option<&Service>,
) -> Result<Value, VaultError> {
    let vault: &Vault = &server.vault;
    let (mut forgotten, mut not_revoked) = (0, 0);
    loop {
        let wish = Listing {
            application: &who.application,
            service,
            user: Some(user),
            after: None,
            limit: MOST_AT_ONCE,
        };
        let rows = vault.list(&wish).await?;
        if rows.is_empty() {
            return Ok(json!({"forgotten": forgotten, "not_revoked_at_provider": not_revoked}));
        }
        for row in rows {
            // A service that is configured no more is forgotten all the same.
            let provider = server.providers.get(row.key.service.as_str());
            match vault
                .forget(who.actor(), provider.map(AsRef::as_ref), &row.key)
                .await
            {
                Ok(done) => {
                    forgotten += 1;
                    not_revoked += u32::from(done.revoked == Some(false));
                }
                Err(VaultError::NotFound) => {} // somebody else was faster
                Err(error) => return Err(error),
            }
        }
    }
}
