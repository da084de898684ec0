//! One name for several servers: a proxy that hands each connection to the next server that says it is ready.
//!
//! It passes bytes on and understands nothing of them. The one thing that it tries again is a connection that was refused.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, interval, sleep},
};

/// How often each server is asked whether it is ready.
const LOOK: Duration = Duration::from_millis(50);

/// How long a connection waits for a server that takes it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The proxy. It ends when it is dropped.
pub struct Name {
    address: SocketAddr,
    servers: Arc<Servers>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Servers(Mutex<State>);

#[derive(Default)]
struct State {
    all: Vec<Backend>,
    /// The only one that is used, if it is named.
    only: Option<usize>,
    turn: usize,
}

struct Backend {
    address: SocketAddr,
    ready: bool,
}

impl Name {
    /// Listens on a free port. There are no servers yet.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn new(http: reqwest::Client) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let servers = Arc::new(Servers::default());
        let mut tasks = JoinSet::new();
        let address = listener.local_addr()?;
        tasks.spawn(accept(listener, Arc::clone(&servers)));
        tasks.spawn(watch(http, Arc::clone(&servers)));
        Ok(Self {
            address,
            servers,
            _tasks: tasks,
        })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The server with this number is, from now on, at this address.
    pub fn put(&self, number: usize, address: SocketAddr) {
        let backend = Backend {
            address,
            ready: false,
        };
        let mut state = self.servers.lock();
        if number == state.all.len() {
            state.all.push(backend);
        } else {
            state.all[number] = backend;
        }
    }

    /// Hands new connections to this server only; `None`: to all in turn.
    pub fn only(&self, number: Option<usize>) {
        self.servers.lock().only = number;
    }
}

impl Servers {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The servers that are ready, the next one first.
    fn candidates(&self) -> Vec<SocketAddr> {
        let mut state = self.lock();
        let count = state.all.len();
        state.turn += 1;
        let (turn, only) = (state.turn, state.only);
        (0..count)
            .map(|step| (turn + step) % count)
            .filter(|number| only.is_none_or(|only| only == *number))
            .map(|number| &state.all[number])
            .filter(|backend| backend.ready)
            .map(|backend| backend.address)
            .collect()
    }

    async fn connect(&self) -> Option<TcpStream> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            for address in self.candidates() {
                if let Ok(connection) = TcpStream::connect(address).await {
                    return Some(connection);
                }
            }
            sleep(Duration::from_millis(5)).await;
        }
        None
    }
}

async fn accept(listener: TcpListener, servers: Arc<Servers>) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let servers = Arc::clone(&servers);
        connections.spawn(async move {
            if let Some(mut server) = servers.connect().await {
                drop(client.set_nodelay(true));
                drop(server.set_nodelay(true));
                drop(copy_bidirectional(&mut client, &mut server).await);
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn watch(http: reqwest::Client, servers: Arc<Servers>) {
    let mut looks = interval(LOOK);
    loop {
        looks.tick().await;
        let addresses: Vec<_> = {
            let state = servers.lock();
            state.all.iter().map(|backend| backend.address).collect()
        };
        for address in addresses {
            let answer = http.get(format!("http://{address}/ready")).send().await;
            let ready = answer.is_ok_and(|answer| answer.status().is_success());
            let mut state = servers.lock();
            let found = state.all.iter_mut().find(|one| one.address == address);
            if let Some(backend) = found {
                backend.ready = ready;
            }
        }
    }
}
