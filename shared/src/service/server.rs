//! Starting and stopping an HTTP server.

use std::{
    io,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_web::{
    App, HttpResponse, HttpServer, ResponseError, Route,
    dev::{Server, ServerHandle, Service},
    http::{ConnectionType, StatusCode},
    web::{self, ServiceConfig},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{HttpMetrics, Problem, observe::Observed};

/// How long requests in flight may take to finish after SIGTERM, in seconds. A connection that
/// stays open holds the server that long too, so it is no longer than a slow request needs.
const SHUTDOWN_SECONDS: u64 = 5;

/// How long after SIGTERM answers still go out, each with `Connection: close` (RFC 9112 section
/// 9.6), so that who sends on a kept connection turns elsewhere instead of losing a request.
const DRAIN: Duration = Duration::from_millis(300);

/// How long after that nobody new is let in, before the server stops. A connection that was let in
/// and not yet looked at would be dropped by the stop; one that was not is refused, and can be tried
/// elsewhere.
const SETTLE: Duration = Duration::from_millis(20);

/// Starts serving what `configure` lays out. On SIGTERM the server asks those on kept connections
/// to turn elsewhere, then takes no new ones, and lets requests in flight finish. On SIGINT it ends
/// at once.
///
/// Each request has its names in the log and its place in the caller's trace (see
/// [`trace`](crate::trace)), and is counted in `metrics`.
///
/// # Errors
/// When a listener or a signal cannot be used.
pub fn serve<F>(
    listeners: Vec<TcpListener>,
    workers: Option<usize>,
    metrics: &HttpMetrics,
    configure: F,
) -> io::Result<Server>
where
    F: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let draining = Arc::new(AtomicBool::new(false));
    let closing = Arc::clone(&draining);
    let metrics = metrics.clone();
    let mut server = HttpServer::new(move || {
        let (closing, metrics) = (Arc::clone(&closing), metrics.clone());
        App::new()
            .default_service(web::to(no_such_path))
            .configure(&configure) // which may know better what to say then
            .wrap_fn(move |request, service| {
                let closing = Arc::clone(&closing);
                let observed = Observed::begin(&request, &metrics);
                let work = observed.work.clone();
                let answer = work.enter(|| service.call(request));
                work.scope(async move {
                    let answer = answer.await;
                    observed.end(&answer);
                    let mut answer = answer?;
                    if closing.load(Ordering::Relaxed) {
                        let head = answer.response_mut().head_mut();
                        head.set_connection_type(ConnectionType::Close);
                    }
                    Ok(answer)
                })
            })
    })
    .disable_signals()
    .shutdown_timeout(SHUTDOWN_SECONDS);
    if let Some(workers) = workers {
        server = server.workers(workers);
    }
    for listener in listeners {
        server = server.listen(listener)?;
    }
    let server = server.run();
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(stop_on_signal(
        server.handle(),
        draining,
        terminate,
        interrupt,
    ));
    Ok(server)
}

async fn stop_on_signal(
    server: ServerHandle,
    draining: Arc<AtomicBool>,
    mut terminate: Signal,
    mut interrupt: Signal,
) {
    tokio::select! {
        _ = terminate.recv() => {
            draining.store(true, Ordering::Relaxed);
            tokio::time::sleep(DRAIN).await;
            server.pause().await;
            tokio::time::sleep(SETTLE).await;
            server.stop(true).await;
        }
        _ = interrupt.recv() => server.stop(false).await,
    }
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
