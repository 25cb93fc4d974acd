//! How much memory and disk there is.

use std::fs;
use std::path::Path;
use std::process::Command;

use medley_files::memory::group_limits;
use medley_model::DeviceKind;
use serde::Serialize;

/// Memory that a run may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// Bytes.
    pub bytes: usize,
    /// Whose it is, in words.
    pub origin: String,
    /// Bytes that are free at this moment, where the system tells: other processes may have some of the budget.
    pub available: Option<usize>,
}

impl Budget {
    /// A limit that the user gives.
    pub fn given(bytes: usize) -> Self {
        Self { bytes, origin: "the budget given".to_owned(), available: None }
    }

    /// The memory of the device: on the CPU the machine's or its control group's limit, whichever is smaller. `None`
    /// where nothing tells.
    pub fn of(device: DeviceKind) -> Option<Self> {
        match device {
            DeviceKind::Cpu => host(Path::new("/proc"), Path::new("/sys/fs/cgroup")),
            DeviceKind::Cuda => nvidia(),
            DeviceKind::Wgpu => None,
        }
    }
}

fn host(proc: &Path, groups: &Path) -> Option<Budget> {
    let memory = fs::read_to_string(proc.join("meminfo")).ok()?;
    let kilobytes = |key: &str| -> Option<usize> {
        let line = memory.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().trim_end_matches("kB").trim().parse::<usize>().ok()
    };
    let machine = kilobytes("MemTotal:")? << 10;
    let available = kilobytes("MemAvailable:").map(|kilobytes| kilobytes << 10);
    let own = fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
    let group = group_limits(&own, groups).into_iter().filter_map(|limit| usize::try_from(limit).ok()).min();
    let group = group.filter(|&limit| limit < machine);
    Some(Budget {
        bytes: group.unwrap_or(machine),
        origin: if group.is_some() { "this control group" } else { "this machine" }.to_owned(),
        available: available.map(|bytes| bytes.min(group.unwrap_or(machine))),
    })
}

/// The memory of the first NVIDIA GPU, as the driver's own tool tells it.
fn nvidia() -> Option<Budget> {
    let query = ["--query-gpu=memory.total,memory.free", "--format=csv,noheader,nounits", "--id=0"];
    let output = Command::new("nvidia-smi").args(query).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut mebibytes = text.lines().next()?.split(',').map(|field| field.trim().parse::<usize>().ok());
    let (total, free) = (mebibytes.next()??, mebibytes.next().flatten());
    Some(Budget { bytes: total << 20, origin: "the GPU".to_owned(), available: free.map(|mebibytes| mebibytes << 20) })
}

/// Bytes free on the file system of `path`, or of the nearest directory above it that exists; `None` where the system does
/// not tell.
pub fn free_disk(path: &Path) -> Option<u64> {
    let absolute = std::path::absolute(path).ok()?;
    let existing = absolute.ancestors().find(|path| path.exists())?;
    free_at(existing)
}

#[cfg(unix)]
fn free_at(path: &Path) -> Option<u64> {
    let status = rustix::fs::statvfs(path).ok()?;
    Some(status.f_bavail * status.f_frsize)
}

#[cfg(not(unix))]
fn free_at(_path: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(own: &str, files: &[(&str, &str)]) -> Budget {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (proc, groups) = (folder.path().join("proc"), folder.path().join("cgroup"));
        fs::create_dir_all(proc.join("self")).expect("made");
        fs::write(proc.join("meminfo"), "MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  900 kB\n").expect("written");
        fs::write(proc.join("self/cgroup"), own).expect("written");
        for (path, text) in files {
            let path = groups.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        }
        host(&proc, &groups).expect("Linux")
    }

    #[test]
    fn the_smallest_limit_counts() {
        let whole = machine("0::/\n", &[("memory.max", "max\n")]);
        assert_eq!((whole.bytes, whole.available), (1000 << 10, Some(900 << 10)));
        assert_eq!(whole.origin, "this machine");
        let second = machine("0::/a/b\n", &[("a/b/memory.max", "max\n"), ("a/memory.max", "409600\n")]);
        assert_eq!((second.bytes, second.available), (409_600, Some(409_600)));
        assert_eq!(second.origin, "this control group");
        let first = "9:name=systemd:/\n4:cpu,memory:/job\n";
        let unlimited = ("memory/memory.limit_in_bytes", "9223372036854771712\n");
        let job = machine(first, &[unlimited, ("memory/job/memory.limit_in_bytes", "204800\n")]);
        assert_eq!(job.bytes, 204_800);
        // Only the root of the container is mounted.
        let container = machine("0::/docker/abc\n", &[("memory.max", "102400\n")]);
        assert_eq!(container.bytes, 102_400);
        assert_eq!(machine(first, &[unlimited]).bytes, 1000 << 10);
    }

    #[test]
    fn this_machine_has_memory_and_disk() {
        if cfg!(target_os = "linux") {
            let budget = Budget::of(DeviceKind::Cpu).expect("Linux tells");
            assert!(
                budget.bytes > 1 << 28 && budget.available.is_some_and(|bytes| bytes <= budget.bytes),
                "{budget:?}"
            );
        }
        assert!(!cfg!(unix) || free_disk(Path::new("no/such/folder")).is_some());
    }
}
