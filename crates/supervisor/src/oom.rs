//! Whether the kernel ended a process for want of memory: the process's cgroup counts how often it did that there.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Where systems mount their cgroups.
const ROOT: &str = "/sys/fs/cgroup";

/// How many deaths of each cgroup's count are accounted for. One table for all processes, because some share a cgroup: a death
/// that was told of one process did not end another.
static ACCOUNTED: Mutex<BTreeMap<PathBuf, u64>> = Mutex::new(BTreeMap::new());

/// The cgroup of a process, as far as memory goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemoryGroup {
    /// What has a line `oom_kill N`.
    counter: PathBuf,
    /// What has the limit in bytes.
    limit: PathBuf,
}

impl MemoryGroup {
    /// That of a process which lives. `None`: it can't be seen, or has none.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        Self::parse(&groups).filter(|group| group.counter.exists())
    }

    /// Reads `hierarchy:controllers:path` lines (cgroups(7)): version 1's memory hierarchy where there is one, else version 2.
    fn parse(groups: &str) -> Option<Self> {
        let lines = || {
            groups.lines().filter_map(|line| {
                let (_number, rest) = line.split_once(':')?;
                rest.split_once(':')
            })
        };
        let has_memory = |(controllers, _): &(&str, &str)| controllers.split(',').any(|name| name == "memory");
        let below = |root: &str, path: &str| Path::new(root).join(path.trim_start_matches('/'));
        if let Some((_, path)) = lines().find(has_memory) {
            let folder = below(&format!("{ROOT}/memory"), path);
            return Some(Self {
                counter: folder.join("memory.oom_control"),
                limit: folder.join("memory.limit_in_bytes"),
            });
        }
        let (_, path) = lines().find(|(controllers, _)| controllers.is_empty())?;
        let folder = below(ROOT, path);
        Some(Self {
            counter: folder.join("memory.events"),
            limit: folder.join("memory.max"),
        })
    }

    /// What has happened there so far is nothing that befell a process of ours.
    pub(crate) fn begin(&self) {
        let mut accounted = ACCOUNTED.lock().unwrap_or_else(PoisonError::into_inner);
        if let (false, Some(count)) = (accounted.contains_key(&self.counter), self.count()) {
            accounted.insert(self.counter.clone(), count);
        }
    }

    /// Whether the kernel has ended a process there that nobody was told of yet; from now on somebody was.
    pub(crate) fn claim(&self) -> bool {
        let mut accounted = ACCOUNTED.lock().unwrap_or_else(PoisonError::into_inner);
        let known = accounted.entry(self.counter.clone()).or_default();
        // A group of the same name that was made anew counts from zero.
        let count = self.count().unwrap_or(0);
        *known = (*known).min(count);
        let is_news = count > *known;
        *known += u64::from(is_news);
        is_news
    }

    fn count(&self) -> Option<u64> {
        let text = fs::read_to_string(&self.counter).ok()?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
        count.trim().parse().ok()
    }

    /// Its limit in MiB; `None`: it has none, so it was the machine that ran out of memory.
    pub(crate) fn limit_mib(&self) -> Option<u64> {
        /// What version 1 says where there is no limit: the most that it can count.
        const NONE: u64 = 1 << 62;
        let bytes: u64 = fs::read_to_string(&self.limit).ok()?.trim().parse().ok()?;
        (bytes < NONE).then_some(bytes >> 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_is_found_in_either_version() {
        let counter = |groups: &str| MemoryGroup::parse(groups).map(|group| group.counter);
        assert_eq!(
            counter("0::/system.slice/a.service\n"),
            Some("/sys/fs/cgroup/system.slice/a.service/memory.events".into())
        );
        assert_eq!(
            counter("9:cpu,cpuacct:/x\n4:memory:/a\n0::/\n"),
            Some("/sys/fs/cgroup/memory/a/memory.oom_control".into())
        );
        assert_eq!(counter(""), None);
        assert_eq!(counter("9:cpu:/x\n"), None);
    }

    #[test]
    fn each_end_is_told_of_once_and_none_from_before() {
        let folder = tempfile::tempdir().expect("a directory");
        let group = MemoryGroup {
            counter: folder.path().join("memory.events"),
            limit: folder.path().join("memory.max"),
        };
        let counts = |count: u64| fs::write(&group.counter, format!("oom 7\noom_kill {count}\n")).expect("written");
        counts(3);
        group.begin();
        assert!(!group.claim());
        counts(5);
        assert!(group.claim() && group.claim() && !group.claim());
        counts(1);
        assert!(
            !group.claim(),
            "a new group begins at nothing, and nobody knows what of it is news"
        );
        counts(2);
        assert!(group.claim());
        fs::write(&group.limit, "max\n").expect("written");
        assert_eq!(group.limit_mib(), None);
        fs::write(&group.limit, "1073741824\n").expect("written");
        assert_eq!(group.limit_mib(), Some(1024));
    }
}
