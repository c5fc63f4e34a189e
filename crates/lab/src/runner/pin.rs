//! Pins the origin, which is the test server, to a core that the workers do not use, if there are enough
//! cores.

/// The minimum number of cores for pinning: one for the origin, two for the threads of a worker, and one for
/// other processes.
const MIN_CORES: usize = 4;

/// The cores that the runner assigns to the origin and the workers.
pub(super) struct Cores {
    #[cfg(target_os = "linux")]
    all: Option<rustix::thread::CpuSet>,
}

#[cfg(target_os = "linux")]
impl Cores {
    pub(super) fn find() -> Self {
        let all = rustix::thread::sched_getaffinity(None).ok();
        Self {
            all: all.filter(|all| all.count() as usize >= MIN_CORES),
        }
    }

    pub(super) fn describe(&self) -> String {
        match &self.all {
            Some(_) => "the origin to a core of its own, the workers to the others".to_owned(),
            None => format!("no: fewer than {MIN_CORES} cores"),
        }
    }

    /// Calls `start` on the origin's core. Child processes inherit the affinity of the calling thread.
    pub(super) fn for_origin<T>(&self, start: impl FnOnce() -> T) -> T {
        self.run_on(|core, origin_core| core == origin_core, start)
    }

    /// Calls `work` on the workers' cores.
    pub(super) fn for_workers<T>(&self, work: impl FnOnce() -> T) -> T {
        self.run_on(|core, origin_core| core != origin_core, work)
    }

    fn run_on<T>(&self, is_selected: impl Fn(usize, usize) -> bool, work: impl FnOnce() -> T) -> T {
        use rustix::thread::{CpuSet, sched_setaffinity};
        let Some(all) = &self.all else { return work() };
        let cores = || (0..CpuSet::MAX_CPU).filter(|index| all.is_set(*index));
        let last = cores().next_back().unwrap_or_default();
        let mut selected = CpuSet::new();
        cores()
            .filter(|index| is_selected(*index, last))
            .for_each(|index| selected.set(index));
        // If the system refuses the affinity, the processes run unpinned.
        let _ = sched_setaffinity(None, &selected);
        let done = work();
        let _ = sched_setaffinity(None, all);
        done
    }
}

#[cfg(not(target_os = "linux"))]
impl Cores {
    pub(super) fn find() -> Self {
        Self {}
    }

    pub(super) fn describe(&self) -> String {
        format!("no: only on Linux, with {MIN_CORES} cores")
    }

    pub(super) fn for_origin<T>(&self, start: impl FnOnce() -> T) -> T {
        start()
    }

    pub(super) fn for_workers<T>(&self, work: impl FnOnce() -> T) -> T {
        work()
    }
}
