//! Starting and stopping an HTTP server.

use std::{
    fs, io,
    net::TcpListener,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use actix_web::{
    App, HttpResponse, HttpServer, ResponseError, Route,
    dev::{Server, ServerHandle, Service},
    guard::fn_guard,
    http::{
        ConnectionType, Method, StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
    web::{self, ServiceConfig},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{HttpMetrics, Problem, observe::Observed};

/// How long requests in flight may take to finish after SIGTERM, in seconds. A connection that
/// stays open holds the server that long too, so it is no longer than a slow request needs.
const SHUTDOWN_SECONDS: u64 = 5;

/// Open files that are not for connections: those of databases, of requests to others, of the log. A server whose
/// callers had taken the last one could not reach its own data.
const RESERVED_FILES: usize = 64;

/// Connections of one worker where open files are no matter; more wait to be let in.
const MAX_CONNECTIONS: usize = 25_600;

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
/// [`trace`](crate::trace)), and is counted in `metrics`. What does not say that it may be kept in a
/// cache is answered with `Cache-Control: no-store`.
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
                    keep_out_of_caches(answer.headers_mut());
                    if closing.load(Ordering::Relaxed) {
                        let head = answer.response_mut().head_mut();
                        head.set_connection_type(ConnectionType::Close);
                    }
                    Ok(answer)
                })
            })
    })
    .disable_signals()
    .max_connections(connections_of_each(workers))
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

/// What is answered is for who asked, but where the answer says itself how long it may be kept (RFC 9111 section 5.2.2.5).
fn keep_out_of_caches(headers: &mut HeaderMap) {
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// How many connections each worker takes, so that all of them together leave some of the files that this process may
/// open.
fn connections_of_each(workers: Option<usize>) -> usize {
    let workers =
        workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get));
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let Some(files) = open_files(&limits) else {
        return MAX_CONNECTIONS;
    };
    let share = files.saturating_sub(RESERVED_FILES) / workers.max(1);
    share.clamp(1, MAX_CONNECTIONS)
}

/// The line `Max open files  1024  4096  files` of `proc_pid_limits(5)`, whose first number is the limit in force. `None`
/// where there is none.
fn open_files(limits: &str) -> Option<usize> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
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

/// A route for one method, for a resource that has [`method_not_allowed`] beside it. `web::get()` and its like note their
/// method with each request, for an `Allow` header that is written there.
pub fn on(method: Method) -> Route {
    web::route().guard(fn_guard(move |context| context.head().method == method))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_the_one_in_force() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             63704                63704                processes \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(
            open_files("Max open files   unlimited   unlimited   files"),
            None
        );
        assert_eq!(open_files(""), None);
        assert!((1..=MAX_CONNECTIONS).contains(&connections_of_each(Some(2))));
    }
}
