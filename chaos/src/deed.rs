//! One thing that a lane asks for: the request, and what is meant by it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::{
    ledger::Thing,
    world::{Caller, Request},
};

/// Something to ask for.
#[derive(Clone, Debug)]
pub(crate) struct Deed {
    pub(crate) caller: Caller,
    pub(crate) request: Request,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Make {
        client: String,
    },
    Rename {
        client: String,
    },
    Remove {
        client: String,
    },
    Grant {
        client: String,
        resource: &'static str,
    },
    Ungrant {
        client: String,
        resource: &'static str,
    },
    AddSecret {
        client: String,
    },
    ReplaceSecret {
        client: String,
        old: Thing,
    },
    RemoveSecret {
        client: String,
        old: Thing,
    },
    Issue {
        client: String,
        resource: &'static str,
        with: Thing,
    },
    Introspect {
        token: Thing,
    },
    Revoke {
        client: String,
        token: Thing,
    },
    RotateKeys,
    Look,
}

impl Deed {
    pub(crate) fn administrator(request: Request, what: What) -> Self {
        Self {
            caller: Caller::Administrator,
            request,
            what,
        }
    }
}

impl What {
    /// Whether it is no error that it was done before.
    pub(crate) fn removes(&self) -> bool {
        matches!(
            self,
            Self::Remove { .. } | Self::Ungrant { .. } | Self::RemoveSecret { .. }
        )
    }

    /// What the server says is not there, by a refusal with this status.
    pub(crate) fn denied_by(&self, status: u16) -> Option<Thing> {
        match (self, status) {
            (Self::Issue { with: secret, .. }, 401)
            | (
                Self::ReplaceSecret { old: secret, .. } | Self::RemoveSecret { old: secret, .. },
                404,
            ) => Some(secret.clone()),
            (
                Self::Issue {
                    client, resource, ..
                },
                400,
            )
            | (Self::Ungrant { client, resource }, 404) => Some(Thing::grant(client, resource)),
            (
                Self::Rename { client }
                | Self::Remove { client }
                | Self::AddSecret { client }
                | Self::Grant { client, .. },
                404,
            ) => Some(Thing::Client(client.clone())),
            _ => None,
        }
    }
}

/// The id of a JWT, read without any check: it is compared with what the server says, and trusted by nobody.
pub(crate) fn jti(token: &str) -> Option<String> {
    let claims = token.split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    Some(claims["jti"].as_str()?.to_owned())
}

/// Where a client is administered.
pub(crate) fn path_of(client: &str) -> String {
    format!("/admin/v1/clients/{client}")
}

/// Where one of its secrets is.
pub(crate) fn path_of_secret(credential: &Thing) -> Option<String> {
    let Thing::Credential { client, id } = credential else {
        return None;
    };
    Some(format!("{}/credentials/{id}", path_of(client)))
}
