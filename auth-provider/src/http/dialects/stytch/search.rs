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
    projects::search::{self, MOST_OPERANDS, MOST_TEXTS, Operand, Operator, Search},
    registry::values::{MAX_SCOPES, Whole},
    server::AuthServer,
};

/// The largest page.
const MAX: usize = 1000;

/// The page of who names no size.
const DEFAULT: usize = 100;

/// Which clients, and which page of them.
pub(super) struct PageOf {
    search: Search,
    after: String,
    limit: usize,
}

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
    request: FromProject<PageOf>,
) -> Result<HttpResponse, Refused> {
    let PageOf {
        search,
        after,
        limit,
    } = &request.body;
    let page = search::search(&server, &request.project, search, after, *limit).await;
    let page = page.map_err(|refusal| request.refused(refusal))?;
    let members = json!({
        "m2m_clients": page.clients.iter().map(view).collect::<Vec<_>>(),
        "results_metadata": {
            "total": page.total,
            "next_cursor": page.next_after.as_ref().map(cursor),
        },
    });
    Ok(answer(request.project.request_id(), members))
}

impl ProjectBody for PageOf {
    async fn read(request: &HttpRequest, payload: &mut Payload, _: &str) -> Result<Self, Refused> {
        let body: Body = maybe_json(request, payload).await?;
        let limit = body
            .limit
            .map_or(Ok(DEFAULT), |Whole(limit)| usize::try_from(limit));
        let limit = limit.ok().filter(|limit| (1..=MAX).contains(limit));
        let wrong = || Refused::bad_request(format!("limit: write a number from 1 to {MAX}"));
        Ok(Self {
            search: body
                .query
                .map_or_else(Query::default, |Object(query)| query)
                .search()?,
            after: after(&body.cursor.unwrap_or_default())?,
            limit: limit.ok_or_else(wrong)?,
        })
    }
}

impl Query {
    fn search(self) -> Result<Search, Refused> {
        let operands = self.operands.unwrap_or_default();
        if operands.len() > MOST_OPERANDS {
            let why = format!("operands: write at most {MOST_OPERANDS}");
            return Err(Refused::bad_request(why));
        }
        Ok(Search {
            operator: match self.operator {
                None | Some(SentOperator::And) => Operator::And,
                Some(SentOperator::Or) => Operator::Or,
            },
            operands: operands
                .into_iter()
                .map(|Object(operand)| operand.operand())
                .collect::<Result<_, _>>()?,
        })
    }
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
            Filter::ClientId => Operand::ids(texts),
            Filter::ClientName => Operand::names(texts),
            Filter::Scopes => Operand::scopes(&texts),
        })
    }
}

/// A cursor is the last client of a page, so that it means the same whatever is written meanwhile.
fn cursor(last: &ClientId) -> String {
    URL_SAFE_NO_PAD.encode(last.as_str())
}

fn after(cursor: &str) -> Result<String, Refused> {
    if cursor.is_empty() {
        return Ok(String::new());
    }
    let decoded = URL_SAFE_NO_PAD.decode(cursor).ok();
    let id = decoded.and_then(|bytes| ClientId::try_from(String::from_utf8(bytes).ok()?).ok());
    let wrong =
        || Refused::bad_request("cursor: send the next_cursor of the page before, or leave it out");
    Ok(id.ok_or_else(wrong)?.as_str().to_owned())
}
