//! Requests that no honest client sends, to each program of the book that takes some.

mod draft;
mod honest;
mod play;
mod request;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::builder::PossibleValuesParser;
use indicatif::{ProgressBar, ProgressStyle};
use record::publish;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::play::{Played, play};
use self::request::{Kind, Route, generate};
use crate::machine::{cpus, raise_open_files};
use crate::server::{self, Binary, Home, Program};

/// Hostile clients of each program at once.
const CLIENTS: u32 = 64;
/// And those who stay until they are sent away.
const STAYING: u64 = 32;
/// Requests before the first look at the memory, at least: caches and histories are full then.
const LEAST_WARM_UP: u64 = 1_000;
/// They have numbers from this one on.
const WARMING: u64 = 1 << 40;
/// How much larger a program may be when all have left, in KiB.
const GROWTH: u64 = 32 << 10;
/// Files that it may have open then, beside those it had: llm keeps connections.
const FILES: usize = 32;
/// How long it may take until it is at rest: heartbeats find who has left.
const REST: Duration = Duration::from_secs(60);

struct Subject {
    program: Program,
    routes: &'static [Route],
}

const fn subject(name: &'static str, routes: &'static [Route]) -> Subject {
    let program = Program { home: Home::Book, name, made_with: "salvo" };
    Subject { program, routes }
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

#[rustfmt::skip]
const SUBJECTS: [Subject; 5] = [
    subject("chat", &[
        ["GET", "/", "", ""],
        ["GET", "/chat", "", ""],
        ["GET", "/chat?as={id}", "", ""],
        ["POST", "/chat/{id}", TEXT, "hello"],
    ]),
    subject("llm", &[
        ["GET", "/", "", ""],
        ["GET", "/answers/{known}", "", ""],
        ["POST", "/answers", JSON, r#"{"prompt":"What is an id?"}"#],
        ["DELETE", "/answers/{known}", "", ""],
    ]),
    subject("feed", &[
        ["GET", "/", "", ""],
        ["GET", "/events", "", ""],
        ["GET", "/events?from=start", "", ""],
        ["GET", "/events?after={known}", "", ""],
        ["GET", "/events?reader={id}", "", ""],
        ["GET", "/events/{known}", "", ""],
        ["POST", "/events", JSON, r#"{"type":"note","data":"hello"}"#],
        ["DELETE", "/readers/{id}", "", ""],
    ]),
    subject("wire", &[
        ["GET", "/", "", ""],
        ["GET", "/wire/{id}", "", ""],
        ["GET", "/wire/{id}?chunk=1&pace=5", "", ""],
        ["PUT", "/wire/{id}", TEXT, "id: 1\ndata: a\ndata: b\n\n: c\n\nretry: 5\r\n\r\n"],
    ]),
    subject("faults", &[
        ["GET", "/", "", ""],
        ["GET", "/faults/{fault}", "", ""],
        ["GET", "/streams/{id}", "", ""],
        ["GET", "/streams/{id}/attempts", "", ""],
        ["PUT", "/streams/{id}", TEXT, "good 502 cut-mid-event drip"],
    ]),
];

/// Send hostile requests to chat, llm, feed, wire and faults
///
/// Odd heads, bodies and ids, halves, drips, floods, and clients who read nothing, each from
/// a seed and a number, and beside them an honest client. A program fails if it panics or
/// ends; if a request that is complete gets no answer (a refusal is one); if it has grown by
/// more than 32 MiB, or still has their connections, when all have left; or if the honest
/// client misses an event or hears one twice. Then the exit code is 1, and each failure says
/// how to repeat it.
#[derive(clap::Args)]
pub struct Args {
    /// Requests to all programs together
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(5..))]
    requests: u64,
    /// The seed of the requests; a new one in each run, unless it is given
    #[arg(long)]
    seed: Option<u64>,
    /// These programs only
    #[arg(long, value_name = "NAME", value_delimiter = ',',
        value_parser = PossibleValuesParser::new(SUBJECTS.map(|subject| subject.program.name)))]
    program: Vec<String>,
    /// Only the request with this number, and what comes of it
    #[arg(long, value_name = "NUMBER", requires = "seed")]
    only: Option<u64>,
    /// Write the tables, and what they were made with, to this file, too
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

/// The end of one program's run.
#[derive(Debug, Default)]
struct Outcome {
    /// The last id that the program has given out.
    known: String,
    requests: u64,
    time: Duration,
    kinds: BTreeMap<Kind, u64>,
    /// Answers by the first digit of their status.
    answers: BTreeMap<u16, u64>,
    before_kib: u64,
    after_kib: u64,
    /// Events that the honest client has heard.
    heard: usize,
    failures: Vec<String>,
}

pub fn hostile(args: &Args) -> Result<()> {
    raise_open_files(2 * CLIENTS)?;
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("seed {seed}");
    let chosen = SUBJECTS.iter().filter(|Subject { program, .. }| {
        args.program.is_empty()
            || args.program.iter().any(|name| name == program.name)
    });
    let chosen: Vec<_> = chosen.collect();
    let built = chosen.iter().map(|subject| subject.program.build());
    let built = built.collect::<Result<Vec<_>>>()?;
    let requests = args.requests / chosen.len() as u64;
    let style = "[{pos}/{len} requests, {per_sec}, {eta} to go]";
    let progress = ProgressBar::new(requests * chosen.len() as u64)
        .with_style(ProgressStyle::with_template(style)?);
    let outcomes = Runtime::new()?.block_on(async {
        let mut runs = Vec::new();
        for (subject, binary) in chosen.into_iter().zip(built) {
            let run =
                run(subject, binary, seed, requests, args.only, progress.clone());
            runs.push((subject.program.name, tokio::spawn(run)));
        }
        let mut outcomes = Vec::new();
        for (name, run) in runs {
            outcomes.push((name, run.await?.context(name)?));
        }
        anyhow::Ok(outcomes)
    })?;
    progress.finish_and_clear();
    if args.only.is_none() {
        let version = SUBJECTS[0].program.framework()?;
        let table = table::table(seed, &version, &outcomes)?;
        publish("cargo run --release", &table, args.save.as_deref())?;
    }
    let failures: usize =
        outcomes.iter().map(|(_, outcome)| outcome.failures.len()).sum();
    ensure!(failures == 0, "{failures} failures");
    Ok(())
}

/// Starts the program, and sends it all requests, or only one.
async fn run(
    subject: &'static Subject,
    binary: Binary,
    seed: u64,
    requests: u64,
    only: Option<u64>,
    progress: ProgressBar,
) -> Result<Outcome> {
    // The folder that cargo builds in: one for temporary files may be in memory.
    let dir = tempfile::tempdir_in(record::root().join("bench/target"))?;
    let dir = dir.path().to_str().context("a strange path")?;
    let variables = [
        ("FEED_DIR", dir),
        ("NO_PROXY", "127.0.0.1"),
        ("TOKIO_WORKER_THREADS", "2"),
    ];
    let mut running = binary.start(&cpus()?.0, &variables).await?;
    let crowd = Arc::new(Crowd {
        subject,
        seed,
        addr: running.addr,
        next: AtomicU64::new(0),
        outcome: Mutex::default(),
        progress,
    });
    let pid = running.pid;
    if let Some(number) = only {
        let one = async {
            crowd.one(number).await;
            Ok(())
        };
        running.during(one).await?;
        eprintln!("{:?}", crowd.outcome());
    } else if let Err(error) = running.during(crowd.storm(pid, requests)).await {
        crowd.fail(format!("{error:#}"));
    }
    for line in running.panics()? {
        crowd.fail(line);
    }
    let outcome = std::mem::take(&mut *crowd.outcome());
    Ok(outcome)
}

/// The hostile clients of one program.
struct Crowd {
    subject: &'static Subject,
    seed: u64,
    addr: std::net::SocketAddr,
    next: AtomicU64,
    outcome: Mutex<Outcome>,
    progress: ProgressBar,
}

impl Crowd {
    fn outcome(&self) -> std::sync::MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, why: String) {
        let name = self.subject.program.name;
        self.progress.suspend(|| eprintln!("{name} FAILED: {why}"));
        self.outcome().failures.push(why);
    }

    async fn storm(self: &Arc<Self>, pid: u32, requests: u64) -> Result<()> {
        let name = self.subject.program.name;
        let files = server::files(pid)?;
        self.send(WARMING, (requests / 10).max(LEAST_WARM_UP)).await?;
        let before_kib = rest(pid, files, u64::MAX).await?;
        *self.outcome() = Outcome { before_kib, ..Outcome::default() };

        let over = watch::Sender::new(false);
        let honest = tokio::spawn(honest::beside(name, self.addr, over.subscribe()));
        let mut staying = JoinSet::new();
        for number in 0..STAYING {
            let crowd = self.clone();
            staying.spawn(async move { crowd.one(request::STAYING + number).await });
        }
        let start = Instant::now();
        self.send(0, requests).await?;
        self.outcome().time = start.elapsed();
        over.send_replace(true);
        match honest.await? {
            Ok(heard) => self.outcome().heard = heard,
            Err(error) => self.fail(format!("the honest client: {error:#}")),
        }

        while let Some(end) = staying.join_next().await {
            end?;
        }
        self.outcome().after_kib = server::rss(pid)?;
        // A stream of `faults` that says nothing lasts 10 minutes, as it says. Who has left
        // behind more bytes than a request is not noticed before.
        let files = if name == "faults" { usize::MAX / 2 } else { files };
        match rest(pid, files, before_kib + GROWTH).await {
            Ok(kib) => self.outcome().after_kib = kib,
            Err(error) => self.fail(format!("{error:#}")),
        }
        Ok(())
    }

    /// Sends so many requests, from this number on.
    async fn send(self: &Arc<Self>, from: u64, count: u64) -> Result<()> {
        self.next.store(from, Relaxed);
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let crowd = self.clone();
            clients.spawn(async move {
                loop {
                    let number = crowd.next.fetch_add(1, Relaxed);
                    if number >= from + count {
                        return;
                    }
                    crowd.one(number).await;
                    crowd.progress.inc(u64::from(from == 0));
                }
            });
        }
        while let Some(end) = clients.join_next().await {
            end?;
        }
        Ok(())
    }

    async fn one(&self, number: u64) {
        let known = self.outcome().known.clone();
        let hostile = generate(self.subject.routes, self.seed, number, &known);
        let mut played = Played::default();
        let result = play(self.addr, &hostile, &mut played).await;
        if let Err(error) = result {
            let name = self.subject.program.name;
            let length = hostile.bytes.len();
            let shown = &hostile.bytes[..length.min(400)];
            self.fail(format!(
                "{error:#}, after {:?}, for {:?} {:?} of {length} bytes: {} \
                 (hostile --program {name} --seed {} --only {number})",
                played.statuses,
                hostile.kind,
                hostile.manner,
                shown.escape_ascii(),
                self.seed,
            ));
        }
        let mut outcome = self.outcome();
        outcome.requests += 1;
        outcome.known = played.known.unwrap_or(known);
        *outcome.kinds.entry(hostile.kind).or_default() += 1;
        for status in played.statuses {
            *outcome.answers.entry(status / 100).or_default() += 1;
        }
    }
}

/// Waits until a program has lost the connections that it had besides `files`, has no more
/// memory than this, and nothing to do, and returns how much memory it has.
async fn rest(pid: u32, files: usize, most_kib: u64) -> Result<u64> {
    let start = Instant::now();
    loop {
        let open = server::files(pid)?;
        let kib = server::rss(pid)?;
        if open <= files + FILES && kib <= most_kib {
            break;
        }
        let late = start.elapsed() > REST;
        ensure!(
            !late,
            "{open} open files and {kib} KiB, {REST:?} after all have left"
        );
        sleep(Duration::from_millis(100)).await;
    }
    server::settle(&[pid]).await?;
    server::rss(pid)
}
