//! `GET /metrics`, for a monitoring system. There are no names in it; who must not see it, a proxy in front keeps out.

use actix_web::{HttpResponse, http::header, web::Data};

use crate::{metrics, server::AuthServer};

pub(super) async fn serve(server: Data<AuthServer>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type(metrics::CONTENT_TYPE)
        .body(metrics::text(&server))
}
