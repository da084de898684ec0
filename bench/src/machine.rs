//! What Linux says of the machine and of a process, read from `/proc`.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    time::Instant,
};

use serde::Serialize;

/// Linux counts processor time for `/proc` in hundredths of a second, whatever the kernel's own
/// tick is.
const TICKS_PER_SECOND: f64 = 100.0;

/// The cores that this process may run on, lowest first.
pub fn allowed_cores() -> io::Result<Vec<u32>> {
    parse_allowed_cores(&fs::read_to_string("/proc/self/status")?)
        .ok_or_else(|| io::Error::other("cannot make sense of /proc/self/status"))
}

/// The line `Cpus_allowed_list: 0-3,6`.
fn parse_allowed_cores(status: &str) -> Option<Vec<u32>> {
    let ranges = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let mut cores = Vec::new();
    for range in ranges.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cores.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    Some(cores)
}

/// The time that all processors together have spent since the machine started, in ticks.
#[derive(Clone, Copy, Debug)]
pub struct ProcessorTime {
    busy: f64,
    stolen: f64,
    total: f64,
}

/// Shares of the machine's processor time between two moments, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Use {
    /// Spent by any process.
    pub busy: f64,
    /// Wanted, but given to another virtual machine by the host.
    pub stolen: f64,
}

impl ProcessorTime {
    pub fn now() -> io::Result<Self> {
        Self::parse(&fs::read_to_string("/proc/stat")?)
            .ok_or_else(|| io::Error::other("cannot make sense of /proc/stat"))
    }

    /// The line `cpu user nice system idle iowait irq softirq steal …` of `/proc/stat`.
    fn parse(stat: &str) -> Option<Self> {
        let ticks: Vec<f64> = stat
            .lines()
            .next()?
            .strip_prefix("cpu ")?
            .split_whitespace()
            .map(|ticks| ticks.parse().ok())
            .collect::<Option<_>>()?;
        // What follows (guest time) is contained in `user` already.
        let [user, nice, system, idle, iowait, irq, softirq, stolen] = *ticks.first_chunk()?;
        let busy = user + nice + system + irq + softirq;
        Some(Self {
            busy,
            stolen,
            total: busy + idle + iowait + stolen,
        })
    }

    /// How the time since `earlier` was spent.
    pub fn since(self, earlier: Self) -> Use {
        let total = (self.total - earlier.total).max(1.0);
        Use {
            busy: (self.busy - earlier.busy) / total,
            stolen: (self.stolen - earlier.stolen) / total,
        }
    }
}

/// The processor time that a process has used, all its threads together, in seconds.
pub fn processor_seconds_of(pid: u32) -> io::Result<f64> {
    parse_process_stat(&fs::read_to_string(format!("/proc/{pid}/stat"))?)
        .ok_or_else(|| io::Error::other(format!("cannot make sense of /proc/{pid}/stat")))
}

/// `pid (name) state …`: the name may hold spaces and brackets, so that fields are counted from its
/// end. User and system time are the fields 14 and 15 of proc(5).
fn parse_process_stat(stat: &str) -> Option<f64> {
    let (_, from_field_3) = stat.rsplit_once(") ")?;
    let mut fields = from_field_3.split(' ').skip(14 - 3);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

/// What of a process lies in memory, in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Memory {
    pub resident: f64,
    /// The most that it ever was.
    pub highest: f64,
}

impl Memory {
    pub fn of(pid: u32) -> io::Result<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/status"))?)
            .ok_or_else(|| io::Error::other(format!("cannot make sense of /proc/{pid}/status")))
    }

    /// The lines `VmRSS:     1234 kB` and `VmHWM:`.
    fn parse(status: &str) -> Option<Self> {
        let mebibytes = |name| {
            let figure = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kibibytes: f64 = figure.trim().strip_suffix(" kB")?.parse().ok()?;
            Some(kibibytes / 1024.0)
        };
        Some(Self {
            resident: mebibytes("VmRSS:")?,
            highest: mebibytes("VmHWM:")?,
        })
    }
}

/// How many bytes a process has had written to disk, as far as Linux can tell whose they are: pages of files count when they
/// are made dirty.
pub fn bytes_written_by(pid: u32) -> io::Result<f64> {
    parse_bytes_written(&fs::read_to_string(format!("/proc/{pid}/io"))?)
        .ok_or_else(|| io::Error::other(format!("cannot make sense of /proc/{pid}/io")))
}

/// The line `write_bytes: 4096`.
fn parse_bytes_written(io: &str) -> Option<f64> {
    let written = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes:"))?;
    written.trim().parse().ok()
}

/// How large a file is, in bytes.
#[expect(clippy::cast_precision_loss, reason = "no file here has 2^53 bytes")]
pub fn size_of(file: &fs::Metadata) -> f64 {
    file.len() as f64
}

/// How long the disk below this folder takes until a small write is durable, in milliseconds: the middle of many.
pub fn sync_milliseconds(folder: &Path) -> io::Result<f64> {
    const TIMES: usize = 50;
    let path = folder.join("sync");
    let mut file = File::create(&path)?;
    let mut taken = [0.0; TIMES];
    for taken in &mut taken {
        let begin = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        *taken = begin.elapsed().as_secs_f64() * 1e3;
    }
    fs::remove_file(path)?;
    taken.sort_by(f64::total_cmp);
    Ok(taken[TIMES / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_time_between_two_moments() {
        let earlier = ProcessorTime::parse("cpu  100 0 50 800 10 0 0 40 0 0\ncpu0 1 2\n").unwrap();
        let later = ProcessorTime::parse("cpu  120 5 60 850 15 3 2 45 9 0\n").unwrap();
        let Use { busy, stolen } = later.since(earlier);
        assert!((busy - 0.40).abs() < 1e-9, "{busy}");
        assert!((stolen - 0.05).abs() < 1e-9, "{stolen}");
        assert!(ProcessorTime::parse("cpu  1 2 3\n").is_none());
    }

    #[test]
    fn allowed_cores_are_single_ones_and_ranges() {
        let parse =
            |list| parse_allowed_cores(&format!("Cpus_allowed:\t3\nCpus_allowed_list:\t{list}\n"));
        assert_eq!(parse("0-1"), Some(vec![0, 1]));
        assert_eq!(parse("2,4-6"), Some(vec![2, 4, 5, 6]));
        assert_eq!(parse("many"), None);
    }

    #[test]
    fn memory_is_what_is_resident_and_what_was() {
        let status = "Name:\ta\nVmHWM:\t    2048 kB\nVmRSS:\t    1536 kB\n";
        let expected = Memory {
            resident: 1.5,
            highest: 2.0,
        };
        assert_eq!(Memory::parse(status), Some(expected));
        assert_eq!(Memory::parse("Name:\ta\n"), None);
        assert!(Memory::of(std::process::id()).is_ok());
    }

    #[test]
    fn bytes_written_and_sizes_are_of_files() {
        let io = "rchar: 1\nwchar: 2\nread_bytes: 3\nwrite_bytes: 8192\ncancelled_write_bytes: 0\n";
        assert_eq!(parse_bytes_written(io), Some(8192.0));
        assert_eq!(parse_bytes_written("rchar: 1\n"), None);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, [0; 300]).unwrap();
        assert!((size_of(&fs::metadata(file).unwrap()) - 300.0).abs() < 1e-9);
        assert!(sync_milliseconds(folder.path()).is_ok());
    }

    #[test]
    fn a_process_may_have_any_name() {
        let stat = "4242 (a) b (c) S 1 2 3 0 -1 4194560 9 0 0 0 250 75 0 0 20 0 4 0 123 456";
        assert_eq!(parse_process_stat(stat), Some(3.25));
        assert_eq!(parse_process_stat("4242 (short) S 1"), None);
        assert!(processor_seconds_of(std::process::id()).is_ok());
    }
}
