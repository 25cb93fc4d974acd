//! The memory that this process may use.

use std::fs;
use std::path::{Path, PathBuf};

/// A limit on memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Bytes.
    pub bytes: u64,
    /// Its owner: "this machine", "this control group", ….
    pub origin: &'static str,
}

/// The smallest of the machine's memory, the limit of the control group and the process's limit on its address space; `None`
/// without `/proc`.
pub fn limit() -> Option<Limit> {
    limit_at(Path::new("/proc"), Path::new("/sys/fs/cgroup"))
}

fn limit_at(proc: &Path, groups: &Path) -> Option<Limit> {
    let memory = fs::read_to_string(proc.join("meminfo")).ok()?;
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let machine = total.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? << 10;
    let own = fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
    let group = group_limits(&own, groups).into_iter().min();
    let limits = fs::read_to_string(proc.join("self/limits")).unwrap_or_default();
    let space = limits.lines().find_map(|line| line.strip_prefix("Max address space"));
    let space = space.and_then(|line| line.split_whitespace().next()?.parse().ok());
    let all = [
        Some(Limit { bytes: machine, origin: "this machine" }),
        group.map(|bytes| Limit { bytes, origin: "this control group" }),
        space.map(|bytes| Limit { bytes, origin: "this process (its limit on the address space)" }),
    ];
    all.into_iter().flatten().min_by_key(|limit| limit.bytes)
}

/// Memory limits, in bytes, of the control groups in `own` (the content of `/proc/self/cgroup`) and all their ancestors; versions 1
/// and 2.
pub fn group_limits(own: &str, groups: &Path) -> Vec<u64> {
    let mut found = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (root, file) = match controllers {
            "" => (groups.to_path_buf(), "memory.max"),
            names if names.split(',').any(|name| name == "memory") => (groups.join("memory"), "memory.limit_in_bytes"),
            _ => continue,
        };
        // In a container, the path may be the host's; the container's own group is then mounted at the root.
        let mut group = Some(PathBuf::from(path.trim_start_matches('/')));
        while let Some(path) = group {
            let text = fs::read_to_string(root.join(&path).join(file));
            // `max`, and in version 1 a number near 2⁶³, means no limit.
            found.extend(text.ok().and_then(|text| text.trim().parse::<u64>().ok()));
            group = path.parent().map(Path::to_path_buf);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_counts() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (proc, groups) = (folder.path().join("proc"), folder.path().join("cgroup"));
        fs::create_dir_all(proc.join("self")).expect("made");
        fs::create_dir_all(groups.join("job/step")).expect("made");
        assert_eq!(limit_at(&proc, &groups), None);
        let write = |path: &Path, text: &str| fs::write(path, text).expect("written");
        write(&proc.join("meminfo"), "MemTotal:       4096 kB\nMemFree: 1 kB\n");
        let found = || limit_at(&proc, &groups).expect("known");
        assert_eq!(found(), Limit { bytes: 4 << 20, origin: "this machine" });
        write(&proc.join("self/cgroup"), "0::/job/step\n");
        write(&groups.join("job/memory.max"), "3145728\n");
        write(&groups.join("job/step/memory.max"), "max\n");
        assert_eq!(found(), Limit { bytes: 3 << 20, origin: "this control group" });
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax address space         1048576     unlimited   bytes\n";
        write(&proc.join("self/limits"), limits);
        assert_eq!(found().bytes, 1 << 20);
        write(&proc.join("self/limits"), &limits.replace("1048576", "unlimited"));
        assert_eq!(found().bytes, 3 << 20);
    }
}
