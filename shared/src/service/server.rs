//! Starting and stopping an HTTP server.

use std::{io, net::TcpListener};

use actix_web::{
    App, HttpResponse, HttpServer, ResponseError, Route,
    dev::Server,
    http::StatusCode,
    web::{self, ServiceConfig},
};

use super::Problem;

/// How long requests in flight may take to finish after SIGTERM, in seconds. An idle keep-alive connection
/// holds the server that long too, so it is no longer than a slow request needs.
const SHUTDOWN_SECONDS: u64 = 5;

/// Starts serving what `configure` lays out. On SIGTERM the server takes no new connections and lets
/// requests in flight finish.
///
/// # Errors
/// When a listener cannot be used.
pub fn serve<F>(
    listeners: Vec<TcpListener>,
    workers: Option<usize>,
    configure: F,
) -> io::Result<Server>
where
    F: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let mut server = HttpServer::new(move || {
        App::new()
            .configure(&configure)
            .default_service(web::to(no_such_path))
    })
    .shutdown_timeout(SHUTDOWN_SECONDS);
    if let Some(workers) = workers {
        server = server.workers(workers);
    }
    for listener in listeners {
        server = server.listen(listener)?;
    }
    Ok(server.run())
}

async fn no_such_path() -> HttpResponse {
    Problem::not_found("there is nothing at this path").error_response()
}

/// What a resource answers to a method that it does not have (RFC 9110 section 15.5.6).
/// `allow` lists the methods it has, as in the `Allow` header.
pub fn method_not_allowed(allow: &'static str) -> Route {
    web::to(move || async move {
        Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("this path answers {allow}"),
        )
        .header("Allow", allow)
        .error_response()
    })
}
