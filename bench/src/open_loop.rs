//! An open loop: requests are due at moments that were fixed before, whether or not the server has answered the ones
//! before them, and each is as slow as the time from its moment to its answer. A closed loop, such as `wrk`, sends less while
//! the server is slow, and so leaves out the very requests that would have waited (*coordinated omission*).

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    process::Stdio,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    sync::Semaphore,
    task::{JoinSet, LocalSet, yield_now},
    time::timeout,
};

use crate::{
    server::{Place, Server},
    wrk::{CONNECTIONS, Request, Summary},
};

/// How much longer than planned it may take.
const GRACE: Duration = Duration::from_secs(10);

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// What is to be sent, and how often. It may hold a secret, so it goes through a pipe and not over the command line.
#[derive(Deserialize, Serialize)]
pub struct Order {
    address: SocketAddr,
    request: String,
    per_second: f64,
    seconds: f64,
}

/// What a loop came to.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Outcome {
    pub summary: Summary,
    /// The 99th percentile of how much later than planned the loop itself was ready to send. It is part of the latencies, and
    /// no fault of the server's.
    pub late_microseconds: f64,
}

/// Sends a request to the server, so often a second, from a process of its own on the core of `place`.
pub async fn load(
    server: &Server,
    request: &Request,
    per_second: f64,
    duration: Duration,
    place: Place<'_>,
) -> anyhow::Result<Outcome> {
    let order = Order {
        address: server.address(),
        request: request.on_the_wire()?,
        per_second,
        seconds: duration.as_secs_f64(),
    };
    let mut process = Command::new("taskset")
        .args(["--cpu-list", &place.cores.to_string()])
        .arg(std::env::current_exe()?)
        .arg("open-loop")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the open loop with taskset (Debian: util-linux)")?;
    let mut pipe = process.stdin.take().context("no pipe")?;
    pipe.write_all(&serde_json::to_vec(&order)?).await?;
    drop(pipe);
    let limit = duration + GRACE;
    let output = timeout(limit, process.wait_with_output())
        .await
        .context("the open loop did not end in time: the server is slower than it was")??;
    ensure!(output.status.success(), "the open loop failed");
    let outcome: Outcome = serde_json::from_slice(&output.stdout)?;
    outcome.summary.check()?;
    Ok(outcome)
}

/// What the tasks of one loop share; they are on one thread.
struct Loop {
    order: Order,
    total: u32,
    /// A permit for each request that is due and not yet taken.
    due: Semaphore,
    begin: Cell<Instant>,
    taken: Cell<u32>,
    /// In microseconds.
    latencies: RefCell<Vec<f64>>,
    refused: Cell<u32>,
}

/// Carries out an order on this thread, which it keeps busy all the time: a timer would be late by up to a millisecond.
///
/// # Errors
/// When a connection cannot be made or breaks.
pub async fn run(order: Order) -> anyhow::Result<Outcome> {
    LocalSet::new().run_until(run_local(order)).await
}

async fn run_local(order: Order) -> anyhow::Result<Outcome> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of requests"
    )]
    let total = (order.per_second * order.seconds) as u32;
    ensure!(total > 0, "there is nothing to send");
    let shared = Rc::new(Loop {
        total,
        due: Semaphore::new(0),
        begin: Cell::new(Instant::now()),
        taken: Cell::new(0),
        latencies: RefCell::default(),
        refused: Cell::new(0),
        order,
    });
    let mut senders = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(shared.order.address).await?;
        connection.ask(&shared.order.request).await?; // not counted: it warms up
        let shared = Rc::clone(&shared);
        senders.spawn_local(async move { shared.send_over(connection).await });
    }
    shared.begin.set(Instant::now());
    let mut late = Vec::new();
    for number in 0..total {
        let moment = shared.moment(number);
        while Instant::now() < moment {
            yield_now().await;
        }
        late.push(moment.elapsed().as_secs_f64() * 1e6);
        shared.due.add_permits(1);
    }
    shared
        .due
        .add_permits(usize::try_from(CONNECTIONS).expect("a small number"));
    while let Some(ended) = senders.join_next().await {
        ended??;
    }
    Ok(Outcome {
        summary: shared.summary(),
        late_microseconds: percentile(&mut late, 99),
    })
}

impl Loop {
    /// When this request is due.
    fn moment(&self, number: u32) -> Instant {
        self.begin.get() + Duration::from_secs_f64(f64::from(number) / self.order.per_second)
    }

    async fn send_over(&self, mut connection: Connection) -> anyhow::Result<()> {
        loop {
            self.due.acquire().await?.forget();
            let number = self.taken.replace(self.taken.get() + 1);
            if number >= self.total {
                return Ok(());
            }
            if !connection.ask(&self.order.request).await? {
                self.refused.set(self.refused.get() + 1);
            }
            let waited = self.moment(number).elapsed();
            self.latencies.borrow_mut().push(waited.as_secs_f64() * 1e6);
        }
    }

    fn summary(&self) -> Summary {
        let mut latencies = self.latencies.borrow_mut();
        Summary {
            requests: f64::from(self.total),
            microseconds: self.begin.get().elapsed().as_secs_f64() * 1e6,
            p99_microseconds: percentile(&mut latencies, 99),
            refused: f64::from(self.refused.get()),
            broken: 0.0,
        }
    }
}

/// The value that so many per cent of all do not exceed.
pub(crate) fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent).div_ceil(100) - 1]
}

/// A kept connection, with the bytes that were read from it last.
struct Connection {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            bytes: Vec::with_capacity(16 * 1024),
        })
    }

    /// Sends the request and reads the answer. Whether it is a 200.
    async fn ask(&mut self, request: &str) -> anyhow::Result<bool> {
        self.stream.write_all(request.as_bytes()).await?;
        self.bytes.clear();
        let end = loop {
            if self.stream.read_buf(&mut self.bytes).await? == 0 {
                bail!("the server closed a connection that it should have kept");
            }
            ensure!(
                self.bytes.len() < MAX_ANSWER,
                "the answer is longer than any here"
            );
            if let Some(end) = answer_length(&self.bytes)?
                && self.bytes.len() >= end
            {
                break end;
            }
        };
        ensure!(self.bytes.len() == end, "there is more than one answer");
        Ok(self.bytes.starts_with(b"HTTP/1.1 200 "))
    }
}

/// How long an answer is, head and body, once its head is there (RFC 9112 section 6.3).
fn answer_length(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[..head])?;
    let length = text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .context("the answer does not say how long it is")?;
    Ok(Some(head + 4 + length.1.parse::<usize>()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::floor;

    #[test]
    fn an_answer_is_as_long_as_its_head_says() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Type: a\r\ncontent-length: 5\r\n\r\nhello";
        assert_eq!(answer_length(answer).unwrap(), Some(answer.len()));
        assert_eq!(answer_length(&answer[..20]).unwrap(), None);
        assert!(answer_length(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let mut values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        for (percent, expected) in [(99, 198.0), (50, 100.0), (100, 200.0), (1, 2.0)] {
            assert!((percentile(&mut values, percent) - expected).abs() < 1e-9);
        }
        assert!((percentile(&mut [7.0], 99) - 7.0).abs() < 1e-9);
    }

    #[actix_web::test]
    async fn as_many_requests_are_sent_as_are_due_and_refusals_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        actix_web::rt::spawn(floor::serve(vec![listener]).unwrap());
        for (path, refused) in [("/event", 0.0), ("/verified", 50.0)] {
            let request = Request::get(format!("http://{address}{path}"));
            let order = Order {
                address,
                request: request.on_the_wire().unwrap(),
                per_second: 500.0,
                seconds: 0.1,
            };
            let Outcome { summary, .. } = run(order).await.unwrap();
            assert!((summary.requests - 50.0).abs() < 1e-9, "{summary:?}");
            assert!((summary.refused - refused).abs() < 1e-9, "{summary:?}");
            assert!(summary.p99_microseconds > 0.0);
        }
    }
}
