//! Callers who mean no good, or whose network is bad: idle and slow connections, requests that are never finished, bodies
//! that are far too large.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

/// A slow sender's next byte comes after this.
const DRIP: Duration = Duration::from_secs(1);

/// Who is turned away comes back after this.
const BREATH: Duration = Duration::from_millis(200);

/// The size of a body that is far too large, and of the pieces that it comes in.
const LARGE: usize = 64 * 1024 * 1024;
const PIECE: usize = 64 * 1024;

/// What they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Connects, and says nothing.
    Idle,
    /// Sends its headers byte by byte, and never comes to their end.
    SlowHeaders,
    /// Sends its body byte by byte.
    SlowBody,
    /// Breaks off in the midst of a request, and begins the next.
    HalfSent,
    /// Sends 64 MiB, and says so.
    LargeBody,
    /// Sends 64 MiB in chunks, and does not say how many there will be.
    LargeChunks,
}

/// A siege under way. Dropping it ends it.
pub struct Siege {
    ends: Arc<AtomicBool>,
    connections: Arc<AtomicU64>,
    tasks: JoinSet<()>,
}

impl Siege {
    /// So many callers of each manner, each of whom comes back when he is turned away.
    pub fn begin(address: SocketAddr, callers: &[(Manner, usize)]) -> Self {
        let (ends, connections) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut tasks = JoinSet::new();
        let each = callers
            .iter()
            .flat_map(|(manner, count)| std::iter::repeat_n(*manner, *count));
        for manner in each {
            let (ends, connections) = (Arc::clone(&ends), Arc::clone(&connections));
            tasks.spawn(async move {
                while !ends.load(Ordering::Relaxed) {
                    if let Ok(stream) = TcpStream::connect(address).await {
                        connections.fetch_add(1, Ordering::Relaxed);
                        // Being turned away is what is to be expected.
                        let _ = manner.behave(stream).await;
                    }
                    sleep(BREATH).await;
                }
            });
        }
        Self {
            ends,
            connections,
            tasks,
        }
    }

    /// Ends it, and says how many connections were made.
    pub async fn end(mut self) -> u64 {
        self.ends.store(true, Ordering::Relaxed);
        self.tasks.shutdown().await;
        self.connections.load(Ordering::Relaxed)
    }
}

impl Manner {
    async fn behave(self, mut stream: TcpStream) -> std::io::Result<()> {
        match self {
            Self::Idle => until_turned_away(&mut stream).await,
            Self::SlowHeaders => {
                stream
                    .write_all(b"POST /oauth/token HTTP/1.1\r\nHost: a\r\nX-Slow: ")
                    .await?;
                drip(&mut stream).await
            }
            Self::SlowBody => {
                stream
                    .write_all(head("Content-Length: 1000").as_bytes())
                    .await?;
                drip(&mut stream).await
            }
            Self::HalfSent => {
                stream
                    .write_all(head("Content-Length: 1000").as_bytes())
                    .await?;
                stream.write_all(b"grant_type=client_cred").await
            }
            Self::LargeBody => {
                let length = format!("Content-Length: {LARGE}");
                stream.write_all(head(&length).as_bytes()).await?;
                let piece = vec![b'a'; PIECE];
                for _ in 0..LARGE / PIECE {
                    stream.write_all(&piece).await?;
                }
                until_turned_away(&mut stream).await
            }
            Self::LargeChunks => {
                stream
                    .write_all(head("Transfer-Encoding: chunked").as_bytes())
                    .await?;
                let mut piece = format!("{PIECE:x}\r\n").into_bytes();
                piece.resize(piece.len() + PIECE, b'a');
                piece.extend_from_slice(b"\r\n");
                for _ in 0..LARGE / PIECE {
                    stream.write_all(&piece).await?;
                }
                until_turned_away(&mut stream).await
            }
        }
    }
}

fn head(framing: &str) -> String {
    format!(
        "POST /oauth/token HTTP/1.1\r\nHost: a\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n{framing}\r\n\r\n"
    )
}

async fn until_turned_away(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut answer = [0; 1024];
    while stream.read(&mut answer).await? > 0 {}
    Ok(())
}

/// A byte now and then, until the other side has had enough.
async fn drip(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut answer = [0; 1024];
    loop {
        stream.write_all(b"a").await?;
        if let Ok(read) = timeout(DRIP, stream.read(&mut answer)).await
            && read? == 0
        {
            return Ok(());
        }
    }
}
