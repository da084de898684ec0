//! `GET /metrics`, for a monitoring system. There are no names in it; who must not see it, a proxy in front keeps out.

use actix_web::{HttpResponse, web::Data};
use m2m::service::open_metrics;

use crate::{metrics::Metrics, server::AuthServer};

pub(super) async fn serve(server: Data<AuthServer>) -> HttpResponse {
    open_metrics(Metrics::of(&server))
}
