//! The CPUs and open files that this process and its servers may use.

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// For this process and, by inheritance, the servers: each has a socket for each reader.
pub fn raise_open_files(readers: u32) -> Result<()> {
    let needed = u64::from(readers) + 100;
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    let limit = maximum.unwrap_or(u64::MAX);
    ensure!(
        limit >= needed,
        "{readers} readers need {needed} open files, and the hard limit is {limit}: \
         raise it (`sudo prlimit --pid $$ --nofile={needed}:{needed}` in this shell) \
         or ask for fewer with --readers"
    );
    Ok(())
}

/// The CPUs that this thread may use.
fn allowed() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
}

/// From now on, this thread and those that it starts use these CPUs.
fn stay_on(cpus: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu);
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// As taskset names them, and how many they are.
pub fn cpus() -> Result<(String, usize)> {
    let cpus = allowed()?;
    let names: Vec<_> = cpus.iter().map(usize::to_string).collect();
    Ok((names.join(","), cpus.len()))
}

/// Keeps this process and its threads off the core that the servers run on, which it
/// returns as taskset names it.
pub fn leave_a_core() -> Result<String> {
    let cpus = allowed()?;
    let (first, others) =
        cpus.split_first().context("this thread may use no CPU")?;
    if others.is_empty() {
        eprintln!("warning: one core for server and readers: mind the CPU only");
    } else {
        stay_on(others)?;
    }
    Ok(first.to_string())
}

/// Does this with two CPUs for all threads and servers that it starts.
pub fn on_two_cpus<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let cpus = allowed()?;
    ensure!(cpus.len() >= 2, "this machine has no two CPUs");
    stay_on(&cpus[..2])?;
    let result = work();
    stay_on(&cpus)?;
    result
}
