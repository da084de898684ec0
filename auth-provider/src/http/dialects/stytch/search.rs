//! `POST /v1/m2m/clients/search`: HTTP in, HTTP out.

use actix_web::{HttpRequest, HttpResponse, dev::Payload, web::Data};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::json;

use super::{
    answer,
    bodies::{Object, ProjectBody, maybe_json},
    clients::view,
    error::Refused,
    from_project::FromProject,
};
use crate::{
    client::ClientId,
    projects::{self, MOST_FOUND, MOST_OPERANDS, MOST_TEXTS, Operand, Operator, Search},
    registry::values::{MAX_SCOPES, Whole},
    server::AuthServer,
};

/// The page of who names no size.
const DEFAULT: usize = 100;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Body {
    cursor: Option<String>,
    limit: Option<Whole>,
    query: Option<Object<Query>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Query {
    operator: Option<SentOperator>,
    operands: Option<Vec<Object<SentOperand>>>,
}

#[derive(Deserialize)]
enum SentOperator {
    #[serde(rename = "AND")]
    And,
    #[serde(rename = "OR")]
    Or,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SentOperand {
    filter_name: Filter,
    filter_value: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Filter {
    ClientId,
    ClientName,
    Scopes,
}

/// `POST /v1/m2m/clients/search`
pub(super) async fn search(
    server: Data<AuthServer>,
    request: FromProject<Search>,
) -> Result<HttpResponse, Refused> {
    let page = projects::search(&server, &request.project, &request.body).await;
    let page = page.map_err(|refusal| request.refused(refusal))?;
    let members = json!({
        "m2m_clients": page.clients.iter().map(view).collect::<Vec<_>>(),
        "results_metadata": {
            "total": page.total,
            "next_cursor": page.next.as_ref().map(cursor),
        },
    });
    Ok(answer(request.request_id(), members))
}

impl ProjectBody for Search {
    async fn read(request: &HttpRequest, payload: &mut Payload, _: &str) -> Result<Self, Refused> {
        let body: Body = maybe_json(request, payload).await?;
        let limit = body
            .limit
            .map_or(Ok(DEFAULT), |Whole(limit)| usize::try_from(limit));
        let limit = limit.ok().filter(|limit| (1..=MOST_FOUND).contains(limit));
        let wrong =
            || Refused::bad_request(format!("limit: write a number from 1 to {MOST_FOUND}"));
        let query = body.query.map(|Object(query)| query).unwrap_or_default();
        Ok(Self {
            operator: match query.operator {
                None | Some(SentOperator::And) => Operator::And,
                Some(SentOperator::Or) => Operator::Or,
            },
            operands: operands(query.operands.unwrap_or_default())?,
            after: after(&body.cursor.unwrap_or_default())?,
            limit: limit.ok_or_else(wrong)?,
        })
    }
}

fn operands(sent: Vec<Object<SentOperand>>) -> Result<Vec<Operand>, Refused> {
    if sent.len() > MOST_OPERANDS {
        let why = format!("operands: write at most {MOST_OPERANDS}");
        return Err(Refused::bad_request(why));
    }
    let operands = sent.into_iter().map(|Object(operand)| operand.operand());
    operands.collect()
}

impl SentOperand {
    fn operand(self) -> Result<Operand, Refused> {
        let (texts, most) = match self.filter_name {
            Filter::Scopes => (self.filter_value, MAX_SCOPES),
            _ => (self.filter_value, MOST_TEXTS),
        };
        if texts.len() > most {
            return Err(Refused::bad_request(format!(
                "filter_value: write at most {most}"
            )));
        }
        Ok(match self.filter_name {
            Filter::ClientId => Operand::Ids(texts),
            Filter::ClientName => Operand::Names(texts),
            Filter::Scopes => Operand::Scopes(texts),
        })
    }
}

/// A cursor is the last client of a page, so that it means the same whatever is written meanwhile.
fn cursor(last: &ClientId) -> String {
    URL_SAFE_NO_PAD.encode(last.as_str())
}

fn after(cursor: &str) -> Result<Option<ClientId>, Refused> {
    if cursor.is_empty() {
        return Ok(None);
    }
    let decoded = URL_SAFE_NO_PAD.decode(cursor).ok();
    let id = decoded.and_then(|bytes| ClientId::try_from(String::from_utf8(bytes).ok()?).ok());
    let wrong =
        || Refused::bad_request("cursor: send the next_cursor of the page before, or leave it out");
    id.ok_or_else(wrong).map(Some)
}
