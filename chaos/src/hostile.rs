//! A provider on a small disk, among callers who mean no good. Beside each trouble there is ordinary work: it goes on as
//! fast as it should, or is told to come back, nothing is lost of it, and when the trouble is over all is well by itself.

use std::{
    fmt,
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde::Serialize;
use tokio::time::sleep;

use crate::{
    check,
    kill::percentile,
    ledger::Loss,
    load::Load,
    provider::{Provider, Setup, is_ready},
    siege::{Manner, Siege},
    world::World,
};

/// What ordinary callers may wait for their answers, in milliseconds, 99 of 100 of them.
const GOAL_P99: f64 = 250.0;

/// How soon all has to be well after a trouble, in milliseconds.
const GOAL_RECOVERY: f64 = 10_000.0;

/// How long a trouble lasts unless told otherwise.
pub const LENGTH: Duration = Duration::from_secs(15);

/// Open files of the provider that has too few.
const FEW_FILES: u32 = 128;

/// The size of the small disk.
const DISK: &str = "size=64m,mode=0700";

/// The sieges of a provider that lacks nothing.
const SIEGES: [(&str, &[(Manner, usize)]); 4] = [
    ("idle connections", &[(Manner::Idle, 1000)]),
    (
        "slow headers and bodies",
        &[(Manner::SlowHeaders, 500), (Manner::SlowBody, 500)],
    ),
    ("half-sent requests", &[(Manner::HalfSent, 50)]),
    (
        "bodies of 64 MiB",
        &[(Manner::LargeBody, 2), (Manner::LargeChunks, 2)],
    ),
];

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    pub provider: PathBuf,
    pub rate: u32,
    pub seed: u64,
    /// How long each trouble lasts.
    pub length: Duration,
}

/// How ordinary work went beside one trouble.
#[derive(Debug, Serialize)]
struct Beside {
    trouble: &'static str,
    /// What there was of it.
    extent: String,
    answers: u64,
    /// Told to come back.
    unavailable: u64,
    /// In milliseconds, of those that were answered.
    median: f64,
    p99: f64,
    failures: u64,
    told: Vec<String>,
    /// From the end of the trouble until all was well, in milliseconds.
    recovery: f64,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    parts: Vec<Beside>,
    skipped: Vec<String>,
    losses: Vec<Loss>,
}

/// Does it.
///
/// # Errors
/// When the provider ends, or nobody can say whether something was lost.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    let folder = tempfile::Builder::new().prefix("chaos.").tempdir()?;
    let (mut parts, mut losses, mut skipped) = (Vec::new(), Vec::new(), Vec::new());

    let mut field = Field::open(plan, folder.path().join("besieged"), Terms::default()).await?;
    for (trouble, callers) in SIEGES {
        parts.push(field.besieged(trouble, callers).await?);
    }
    losses.extend(field.close().await?);

    let few = Terms {
        files: Some(FEW_FILES),
        ..Terms::default()
    };
    let mut field = Field::open(plan, folder.path().join("few-files"), few).await?;
    let idle = &[(Manner::Idle, 1000)];
    parts.push(field.besieged("no open files left", idle).await?);
    losses.extend(field.close().await?);

    // A provider of its own: the log of a database that is older has places that are free again, and takes a while to need
    // more.
    match Disk::mount(folder.path().join("disk")) {
        Ok(disk) => {
            let small = Terms {
                data: Some(disk.folder.clone()),
                ..Terms::default()
            };
            let mut field = Field::open(plan, folder.path().join("small-disk"), small).await?;
            parts.push(field.without_space(&disk).await?);
            losses.extend(field.close().await?);
        }
        Err(reason) => skipped.push(format!("disk full: {reason:#}")),
    }
    Ok(Report {
        parts,
        skipped,
        losses,
    })
}

/// What the provider has to make do with.
#[derive(Default)]
struct Terms {
    files: Option<u32>,
    data: Option<PathBuf>,
}

/// A provider with ordinary work.
struct Field {
    provider: Provider,
    world: Arc<World>,
    load: Load,
    length: Duration,
    http: reqwest::Client,
    address: SocketAddr,
}

impl Field {
    async fn open(plan: &Plan, folder: PathBuf, terms: Terms) -> anyhow::Result<Self> {
        fs::create_dir(&folder)?;
        let setup = Setup {
            program: plan.provider.clone(),
            folder,
            database: None,
            files: terms.files,
            data: terms.data,
            log: "warn",
        };
        let http = m2m::http_client(Duration::from_secs(10));
        let provider = Provider::start(setup, &http).await?;
        let address = provider.address();
        let world = Arc::new(World::new(provider.url(), provider.folder())?);
        let load = Load::begin(&world, plan.rate, plan.seed);
        sleep(Duration::from_secs(3)).await;
        Ok(Self {
            provider,
            world,
            load,
            length: plan.length,
            http,
            address,
        })
    }

    async fn close(self) -> anyhow::Result<Vec<Loss>> {
        self.load.end().await?;
        check::everything(&self.world).await?;
        Ok(self.world.ledger().losses().to_vec())
    }

    async fn besieged(
        &mut self,
        trouble: &'static str,
        callers: &[(Manner, usize)],
    ) -> anyhow::Result<Beside> {
        std::mem::take(&mut *self.world.tally());
        let siege = Siege::begin(self.address, callers);
        sleep(self.length).await;
        let connections = siege.end().await;
        self.beside(trouble, format!("{connections} connections"))
            .await
    }

    async fn without_space(&mut self, disk: &Disk) -> anyhow::Result<Beside> {
        std::mem::take(&mut *self.world.tally());
        disk.fill()?;
        sleep(self.length).await;
        let url = self.world.url("/ready");
        let ready = is_ready(&self.http, &url).await;
        if ready != Some(false) {
            self.world
                .fail(format!("on a full disk /ready says: {ready:?}"));
        }
        disk.free()?;
        self.beside("disk full", "no byte left".to_owned()).await
    }

    /// Waits until all is well again, and sums up.
    async fn beside(&mut self, trouble: &'static str, extent: String) -> anyhow::Result<Beside> {
        let over = Instant::now();
        self.provider.ready(&self.http).await?;
        ensure!(
            self.provider.server().is_alive(),
            "the provider ended:\n{}",
            self.provider.server().last_words()
        );
        let tally = std::mem::take(&mut *self.world.tally());
        self.load.pause(check::everything(&self.world)).await?;
        let recovery = over.elapsed().as_secs_f64() * 1e3;
        let mut waited = tally.waited;
        waited.sort_by(f64::total_cmp);
        let beside = Beside {
            trouble,
            extent,
            answers: tally.answers.values().sum(),
            unavailable: tally.answers.get(&503).copied().unwrap_or_default(),
            median: percentile(&waited, 50),
            p99: percentile(&waited, 99),
            failures: tally.failures,
            told: tally.told,
            recovery,
        };
        eprintln!("{beside}");
        Ok(beside)
    }
}

/// A disk of its own, so that nobody else misses the space. It is gone when this is dropped.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    fn mount(folder: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir(&folder)?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", DISK, "chaos"])
            .arg(&folder)
            .output()
            .context("there is no mount")?;
        ensure!(
            mounted.status.success(),
            "a tmpfs cannot be mounted here: {}",
            String::from_utf8_lossy(&mounted.stderr).trim()
        );
        Ok(Self { folder })
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// Takes all the space that there is.
    fn fill(&self) -> anyhow::Result<()> {
        let mut ballast = File::create(self.ballast())?;
        for piece in [1024 * 1024, 4096, 1] {
            let piece = vec![0; piece];
            while ballast.write_all(&piece).is_ok() {}
        }
        Ok(())
    }

    fn free(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.ballast())?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.folder);
    }
}

fn unmount(folder: &Path) {
    // Whoever cannot has a mount less only when this program's namespace ends.
    drop(Command::new("umount").arg(folder).status());
}

impl Beside {
    fn is_good(&self) -> bool {
        self.failures == 0
            && (self.p99.is_nan() || self.p99 <= GOAL_P99)
            && self.recovery <= GOAL_RECOVERY
    }
}

impl Report {
    /// Whether ordinary work went on beside each trouble, and nothing was lost.
    pub fn is_good(&self) -> bool {
        self.losses.is_empty() && self.parts.iter().all(Beside::is_good)
    }
}

impl fmt::Display for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<24} {:>5} answers, {:>4} of them 503; median {:>6.1} ms, p99 {:>6.1} ms; {} failures; well again after \
             {:.0} ms ({})",
            self.trouble,
            self.answers,
            self.unavailable,
            self.median,
            self.p99,
            self.failures,
            self.recovery,
            self.extent
        )?;
        for failure in &self.told {
            write!(f, "\n  {failure}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            writeln!(f, "{part}")?;
        }
        for skipped in &self.skipped {
            writeln!(f, "skipped: {skipped}")?;
        }
        writeln!(f, "lost: {}", self.losses.len())?;
        for loss in &self.losses {
            writeln!(f, "  {}", loss.what)?;
        }
        let outcome = if self.is_good() { "met" } else { "MISSED" };
        write!(
            f,
            "goals (p99 <= {GOAL_P99} ms or 503, nothing lost): {outcome}"
        )
    }
}
