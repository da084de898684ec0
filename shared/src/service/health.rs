//! `GET /health`: the process is alive. `GET /ready`: so is everything it depends on, by name.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc};

use actix_web::{HttpResponse, http::header, web};
use serde_json::json;

use super::method_not_allowed;

type Check = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<String, String>>>> + Send + Sync>;

/// The named checks behind `/ready`. Without any, a server that is alive is ready.
#[derive(Clone, Default)]
pub struct Readiness(Vec<(&'static str, Check)>);

impl Readiness {
    /// Adds a check: `Err` says in a few words why the dependency is not there.
    #[must_use]
    pub fn check<F, R>(self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), String>> + 'static,
    {
        self.report(name, move || {
            let outcome = check();
            async move { outcome.await.map(|()| "ok".to_owned()) }
        })
    }

    /// The same for a dependency that can be there and not be well: `Ok` says in a few words how it is.
    #[must_use]
    pub fn report<F, R>(mut self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<String, String>> + 'static,
    {
        self.0.push((name, Arc::new(move || Box::pin(check()))));
        self
    }
}

/// Adds `/health` and `/ready` to a server.
pub fn health_routes(readiness: Readiness) -> impl FnOnce(&mut web::ServiceConfig) {
    let only_get = || method_not_allowed("GET, HEAD");
    move |cfg| {
        cfg.app_data(web::Data::new(readiness))
            .service(
                web::resource("/health")
                    .get(alive)
                    .route(web::head().to(alive))
                    .default_service(only_get()),
            )
            .service(
                web::resource("/ready")
                    .get(ready)
                    .route(web::head().to(ready))
                    .default_service(only_get()),
            );
    }
}

async fn alive() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(json!({"status": "ok"}))
}

async fn ready(readiness: web::Data<Readiness>) -> HttpResponse {
    let mut checks = BTreeMap::new();
    let mut all_well = true;
    for (name, check) in &readiness.0 {
        let outcome = check().await;
        all_well &= outcome.is_ok();
        checks.insert(*name, outcome.unwrap_or_else(|reason| reason));
    }
    let (mut answer, status) = if all_well {
        (HttpResponse::Ok(), "ready")
    } else {
        (HttpResponse::ServiceUnavailable(), "not ready")
    };
    answer
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(json!({"status": status, "checks": checks}))
}
