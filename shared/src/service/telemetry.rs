//! Logs: to standard error, so that standard output stays a program's own.

use std::{
    fmt,
    io::{self, IsTerminal},
};

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Writer},
    },
    registry::LookupSpan,
};

use crate::trace::Work;

/// Starts logging for a program. `RUST_LOG` chooses what is logged (default: `info`, of the web
/// server only warnings, and not that some request made no sense; `info,m2m::request=debug` has a
/// line for each request), `LOG_FORMAT=json` writes one JSON object a line, `NO_COLOR` is respected.
///
/// Each line that is written while a request is answered ends with its `request_id` and `trace_id`.
pub fn init() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,actix_server=warn,actix_http=off"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Its report of a log that cannot be written would panic for the same reason, and end the
        // server.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    let started = if std::env::var_os("LOG_FORMAT").is_some_and(|format| format == "json") {
        log.json().map_event_format(Named::json).try_init()
    } else {
        let color = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let color = color && io::stderr().is_terminal();
        log.with_ansi(color)
            .map_event_format(|format| Named::text(format.with_ansi(color)))
            .try_init()
    };
    // A second call, as tests make it, leaves the first log in place.
    drop(started);
}

/// A format of lines that also names the request.
struct Named<F> {
    format: F,
    /// What a line ends with, and what stands before, between and behind the names then.
    end: &'static str,
    around: [&'static str; 3],
}

impl<L, T> Named<Format<L, T>> {
    fn text(format: Format<L, T>) -> Self {
        Self {
            format,
            end: "\n",
            around: [" request_id=", " trace_id=", "\n"],
        }
    }

    fn json(format: Format<L, T>) -> Self {
        Self {
            format,
            end: "}\n",
            around: [",\"request_id\":\"", "\",\"trace_id\":\"", "\"}\n"],
        }
    }
}

impl<S, N, F> FormatEvent<S, N> for Named<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(work) = Work::current() else {
            return self.format.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.format
            .format_event(context, Writer::new(&mut line), event)?;
        let Some(line) = line.strip_suffix(self.end) else {
            return writer.write_str(&line);
        };
        let [before, between, behind] = self.around;
        let (request_id, trace_id) = (work.request_id(), work.trace().trace_id());
        write!(
            writer,
            "{line}{before}{request_id}{between}{trace_id}{behind}"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing::{info, subscriber};
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::trace::TraceContext;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    impl Lines {
        /// One line within a request and one outside of it.
        fn of(self, log: impl Subscriber + Send + Sync) -> [String; 2] {
            let trace = TraceContext::parse(&format!("00-{TRACE}-00f067aa0ba902b7-01"));
            let work = Work::of(trace);
            subscriber::with_default(log, || {
                work.enter(|| info!(kid = 7, "a \"line\""));
                info!("another");
            });
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            let lines: Vec<_> = text.lines().map(str::to_owned).collect();
            let [one, two] = lines.try_into().unwrap();
            let one: String = one;
            [one.replace(work.request_id(), "ID"), two]
        }
    }

    #[test]
    fn a_line_names_the_request_that_it_belongs_to() {
        let lines = Lines::default();
        let log = tracing_subscriber::fmt().with_writer(lines.clone());
        let [one, two] = lines.of(log
            .with_ansi(false)
            .map_event_format(|format| Named::text(format.with_ansi(false)))
            .finish());
        let end = format!("a \"line\" kid=7 request_id=ID trace_id={TRACE}");
        assert!(one.ends_with(&end), "{one}");
        assert!(two.ends_with("another"), "{two}");
    }

    #[test]
    fn a_line_of_json_has_the_names_as_members() {
        let lines = Lines::default();
        let log = tracing_subscriber::fmt().with_writer(lines.clone());
        let log = log.json().map_event_format(Named::json).finish();
        let [one, two] = lines.of(log).map(|line| {
            let line: Value = serde_json::from_str(&line).unwrap();
            line
        });
        assert_eq!(one["request_id"], "ID");
        assert_eq!(one["trace_id"], TRACE);
        assert_eq!(one["fields"]["message"], "a \"line\"");
        assert_eq!(one["fields"]["kid"], 7);
        assert_eq!(two["trace_id"], Value::Null);
    }
}
