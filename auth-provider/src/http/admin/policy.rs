//! `/admin/v1/policy` and `/admin/v1/explain`

use actix_web::{
    HttpRequest, HttpResponse,
    dev::Payload,
    http::StatusCode,
    web::{Bytes, Data},
};
use m2m::service::{Problem, media_type, read_body_of};

use super::{
    from_admin::{Body, FromAdmin, Json},
    listing::parameters,
};
use crate::{
    built_in::{GrantsRead, PolicyRead, PolicyWrite},
    policy_file::Policy,
    policy_view,
    registry::{
        commit::Refusal,
        explanations::{self, Question},
        policy,
    },
    server::AuthServer,
};

/// The largest policy file, in bytes.
const MAX_FILE: usize = 4 * 1024 * 1024;

/// A policy file, read and checked.
pub(super) struct File {
    policy: Policy,
    prune: bool,
}

impl Body for File {
    const WITH_QUERY: bool = true;

    async fn read(request: &HttpRequest, payload: &mut Payload) -> Result<(Self, Bytes), Problem> {
        let prune = prune(request)?;
        if media_type(request).as_deref() != Some("application/toml") {
            let detail = "send the policy with the header `Content-Type: application/toml`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let bytes = read_body_of(request, payload, MAX_FILE).await;
        let bytes = bytes.map_err(|error| Problem::new(error.status(), error.to_string()))?;
        let text = str::from_utf8(&bytes);
        let text = text.map_err(|_| Problem::bad_request("the policy is not UTF-8"))?;
        let policy =
            Policy::parse(text).map_err(|error| Problem::bad_request(error.to_string()))?;
        Ok((Self { policy, prune }, bytes))
    }
}

fn prune(request: &HttpRequest) -> Result<bool, Problem> {
    match parameters(request.query_string())?.as_slice() {
        [] => Ok(false),
        [(name, value)] if name == "prune" => match value.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Problem::bad_request("write true or false").field("prune")),
        },
        _ => Err(Problem::bad_request(
            "the query takes `prune` only, and once",
        )),
    }
}

/// What is there, as the file that makes it.
pub(super) async fn export(
    _: FromAdmin<PolicyRead>,
    server: Data<AuthServer>,
) -> Result<HttpResponse, Problem> {
    let graph = server.store.graph(None).await.map_err(Refusal::from)?;
    let text = graph.policy.to_toml();
    Ok(HttpResponse::Ok()
        .content_type("application/toml")
        .body(text))
}

pub(super) async fn graph(
    _: FromAdmin<PolicyRead>,
    server: Data<AuthServer>,
) -> Result<HttpResponse, Problem> {
    let graph = server.store.graph(None).await.map_err(Refusal::from)?;
    Ok(HttpResponse::Ok().json(policy_view::Graph::from(&graph.policy)))
}

pub(super) async fn plan(
    request: FromAdmin<PolicyRead, File>,
    server: Data<AuthServer>,
) -> Result<HttpResponse, Problem> {
    let File { policy, prune } = &request.body;
    let planned = policy::plan(server.store.as_ref(), policy, *prune).await;
    let (plan, _) = planned.map_err(Refusal::from)?;
    Ok(HttpResponse::Ok().json(plan.view()))
}

pub(super) async fn apply(
    request: FromAdmin<PolicyWrite, File>,
    server: Data<AuthServer>,
) -> Result<HttpResponse, Problem> {
    let File { policy, prune } = &request.body;
    let plan = policy::apply(&server, &request.admin, policy, *prune).await?;
    Ok(HttpResponse::Ok().json(plan.view()))
}

pub(super) async fn explain(
    request: FromAdmin<GrantsRead, Json<Question>>,
    server: Data<AuthServer>,
) -> Result<HttpResponse, Problem> {
    let Json(question) = request.body;
    let answer = explanations::answer(&server, question).await;
    Ok(HttpResponse::Ok().json(answer.map_err(Refusal::from)?))
}
