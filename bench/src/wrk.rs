//! The load: one request, repeated over 32 connections as fast as the server answers, by the
//! program `wrk`.

use std::{fmt::Write, fs, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use tokio::{process::Command, time::timeout};

use crate::server::Place;

/// Connections that are kept open, each with one request in flight.
pub const CONNECTIONS: u32 = 32;

/// How much longer than asked for a run may take.
const GRACE: Duration = Duration::from_secs(10);

/// The end of each script: `wrk` calls `done` once and we read its one line, which is exact where
/// the text that `wrk` prints by itself is rounded.
const SUMMARY: &str = r#"
function done(summary, latency)
  local failed = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"microseconds":%d,"p99_microseconds":%d,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration, latency:percentile(99), failed.status,
    failed.connect + failed.read + failed.write + failed.timeout))
end
"#;

/// The request that a route is measured with.
#[derive(Clone)]
#[must_use]
pub struct Request {
    method: Method,
    url: String,
    headers: Vec<(&'static str, String)>,
    body: String,
    /// Lua that makes each request anew.
    maker: String,
    connections: u32,
}

/// What one run of the load came to.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Summary {
    pub requests: f64,
    pub microseconds: f64,
    pub p99_microseconds: f64,
    /// Answers with a status of 400 or more.
    pub refused: f64,
    /// Connections that could not be made, broke, or timed out.
    pub broken: f64,
}

impl Request {
    pub fn get(url: String) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: Vec::new(),
            body: String::new(),
            maker: String::new(),
            connections: CONNECTIONS,
        }
    }

    pub fn post_form(url: String, form: impl Into<String>) -> Self {
        Self {
            method: Method::POST,
            url,
            headers: vec![(
                "Content-Type",
                "application/x-www-form-urlencoded".to_owned(),
            )],
            body: form.into(),
            maker: String::new(),
            connections: CONNECTIONS,
        }
    }

    pub fn basic_auth(self, id: &str, secret: &str) -> Self {
        let credentials = STANDARD.encode(format!("{id}:{secret}"));
        self.authorization(format!("Basic {credentials}"))
    }

    /// When it is repeated, each one is made by the Lua function `request` in `maker`.
    pub fn made_by(self, maker: String) -> Self {
        Self { maker, ..self }
    }

    /// When it is repeated, each one has the next of the bearer tokens in this file, one a line, and the first again after the
    /// last. They are made before the first is sent, so that making them costs no time of the load.
    pub fn with_tokens_of(self, file: &Path) -> Self {
        self.made_by(format!(
            "local made, last = {{}}, 0\nfunction init()\n  for token in io.lines({}) do\n    \
             wrk.headers[\"Authorization\"] = \"Bearer \" .. token\n    made[#made + 1] = wrk.format()\n  \
             end\nend\nfunction request()\n  last = last % #made + 1\n  return made[last]\nend\n",
            lua(&file.to_string_lossy())
        ))
    }

    /// When it is repeated, over so many connections.
    pub fn over(self, connections: u32) -> Self {
        Self {
            connections,
            ..self
        }
    }

    pub fn bearer(self, token: &str) -> Self {
        self.authorization(format!("Bearer {token}"))
    }

    fn authorization(mut self, value: String) -> Self {
        self.headers.push(("Authorization", value));
        self
    }

    /// Sends it once and returns the body of the answer, which has to be a 200.
    pub async fn once(&self, http: &reqwest::Client) -> anyhow::Result<String> {
        let mut request = http
            .request(self.method.clone(), &self.url)
            .body(self.body.clone());
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let answer = request.send().await?;
        let (status, body) = (answer.status(), answer.text().await?);
        ensure!(
            status == 200,
            "{} {} was answered with {status}: {body}",
            self.method,
            self.url
        );
        Ok(body)
    }

    /// Repeats it for some seconds. An answer that is refused makes the whole run worthless, so
    /// that it is an error. The folder of `place` gets the script with the secret: nobody else may
    /// read it.
    pub async fn repeat(&self, seconds: u32, place: Place<'_>) -> anyhow::Result<Summary> {
        let script = place.folder.join("request.lua");
        fs::write(&script, self.script())?;
        let run = Command::new("taskset")
            .args([
                "--cpu-list",
                &place.cores.to_string(),
                "wrk",
                "--threads",
                "1",
            ])
            .args(["--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{seconds}s"), "--script"])
            .arg(&script)
            .arg(&self.url)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = timeout(Duration::from_secs(seconds.into()) + GRACE, run)
            .await
            .context("wrk did not end in time")?
            .context("cannot start wrk with taskset (Debian: wrk, util-linux)")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "wrk failed: {text}{errors}");
        let summary = Summary::read(&text).with_context(|| format!("wrk said: {text}{errors}"))?;
        summary
            .check()
            .with_context(|| format!("{} {}", self.method, self.url))?;
        Ok(summary)
    }

    /// The request as it goes over a kept connection (RFC 9112 section 2.1).
    ///
    /// # Errors
    /// When its URL is none.
    pub fn on_the_wire(&self) -> anyhow::Result<String> {
        let url = reqwest::Url::parse(&self.url)?;
        let mut text = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n",
            self.method,
            url.path(),
            url.authority(),
            self.body.len()
        );
        for (name, value) in &self.headers {
            write!(text, "{name}: {value}\r\n").expect("a string takes any text");
        }
        Ok(text + "\r\n" + &self.body)
    }

    /// The Lua script that makes `wrk` send this request.
    fn script(&self) -> String {
        let mut script = format!("wrk.method = {}\n", lua(self.method.as_str()));
        for (name, value) in &self.headers {
            writeln!(script, "wrk.headers[{}] = {}", lua(name), lua(value))
                .expect("a string takes any text");
        }
        if !self.body.is_empty() {
            writeln!(script, "wrk.body = {}", lua(&self.body)).expect("a string takes any text");
        }
        script + &self.maker + SUMMARY
    }
}

/// A Lua literal. Headers and forms are printable ASCII, where Lua and JSON quote alike.
fn lua(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Summary {
    /// The last line of a program's output that is a summary.
    pub fn read(output: &str) -> anyhow::Result<Self> {
        let line = output.lines().rfind(|line| line.starts_with('{'));
        Ok(serde_json::from_str(line.context("no summary")?)?)
    }

    /// # Errors
    /// When a request was refused or lost, or there was no answer at all.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.refused == 0.0 && self.broken == 0.0,
            "the run is invalid: of {} requests {} were refused, and {} connections failed",
            self.requests,
            self.refused,
            self.broken
        );
        ensure!(
            self.requests > 0.0,
            "the run is invalid: there was no answer at all"
        );
        Ok(())
    }

    pub fn requests_per_second(&self) -> f64 {
        self.requests / self.microseconds * 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(refused: u32, broken: u32) -> String {
        format!(
            "Running 2s test @ http://127.0.0.1:1/\n  31200 requests in 2.00s, 9.1MB read\n\n\
             {{\"requests\":31200,\"microseconds\":2000000,\"p99_microseconds\":3120,\
             \"refused\":{refused},\"broken\":{broken}}}\n"
        )
    }

    #[test]
    fn the_summary_is_read_from_among_the_text_of_wrk() {
        let summary = Summary::read(&output(0, 0)).unwrap();
        assert!((summary.requests_per_second() - 15_600.0).abs() < 1e-6);
        assert!((summary.p99_microseconds - 3120.0).abs() < 1e-6);
        assert!(summary.check().is_ok());
        assert!(Summary::read("unable to connect\n").is_err());
    }

    #[test]
    fn a_run_with_a_refused_or_broken_request_is_invalid() {
        for (refused, broken) in [(1, 0), (0, 1), (31_200, 3)] {
            let error = Summary::read(&output(refused, broken))
                .unwrap()
                .check()
                .unwrap_err();
            assert!(
                error.to_string().starts_with("the run is invalid"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_script_sends_method_headers_and_body() {
        let request = Request::post_form("http://127.0.0.1:1/token".into(), "a=b&c=d+e")
            .basic_auth("assistant", "secret");
        let script = request.script();
        assert!(script.contains("wrk.method = \"POST\"\n"), "{script}");
        assert!(script.contains("wrk.body = \"a=b&c=d+e\"\n"), "{script}");
        let basic = "wrk.headers[\"Authorization\"] = \"Basic YXNzaXN0YW50OnNlY3JldA==\"\n";
        assert!(script.contains(basic), "{script}");
        let wire = request.on_the_wire().unwrap();
        let (head, body) = wire.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("POST /token HTTP/1.1\r\nHost: 127.0.0.1:1\r\n"),
            "{head}"
        );
        assert!(head.contains("\r\nContent-Length: 9\r\n") && body == "a=b&c=d+e");
        let many = request.with_tokens_of(Path::new("/t/tokens")).script();
        assert!(many.contains("for token in io.lines(\"/t/tokens\") do\n"));
        let get = Request::get("http://127.0.0.1:1/".into()).script();
        assert!(!get.contains("wrk.body"), "{get}");
    }
}
