//! Stops of a program while readers arrive: a stream that has begun is not cut off.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use fastrand::Rng;
use indicatif::{ProgressBar, ProgressStyle};
use record::publish;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::http::Connection;
use crate::machine::{cpus, raise_open_files};
use crate::server::{Binary, Home, Program};
use crate::statistics::ms;

/// How long the programs let their streams take to end.
const STOP: Duration = Duration::from_secs(3);
/// So many readers wait for their first byte at any time.
const ARRIVING: usize = 32;
/// A reader who is refused makes room for the next one after this time.
const PACE: Duration = Duration::from_millis(1);
/// A connection that is not there after this time was refused.
const PATIENCE: Duration = Duration::from_millis(300);
/// The signal comes this long after the first reader, at most.
const LATEST: Duration = Duration::from_millis(60);

const JSON: &str = "application/json";

/// Stop a program again and again while readers arrive
///
/// Starts it, lets readers arrive, sends SIGTERM at a random time, and lets more of them
/// arrive until the program has ended. A stream that has begun and ends without its last
/// chunk was cut off. Who is refused before it begins was not: a client asks again. If one
/// stream was cut off, or one end took longer than 3 s, the exit code is 1.
#[derive(clap::Args)]
pub struct Args {
    #[arg(long, value_enum)]
    program: Which,
    /// How often it is stopped
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    stops: u32,
    /// The seed of the times of the signals; a new one in each run, unless it is given
    #[arg(long)]
    seed: Option<u64>,
    /// Write the table, and what it was made with, to this file, too
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Which {
    Chat,
    Llm,
    Feed,
    Model,
}

/// The readers of one stop, or of all, by their end.
#[derive(Debug, Default)]
struct Readers {
    whole: u64,
    cut: u64,
    refused: u64,
}

pub fn stops(args: &Args) -> Result<()> {
    raise_open_files(10_000)?;
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("seed {seed}");
    let name = match args.program {
        Which::Chat => "chat",
        Which::Llm => "llm",
        Which::Feed => "feed",
        Which::Model => "model",
    };
    let program = Program { home: Home::Book, name, made_with: "salvo" };
    let binary = program.build()?;
    let style = "[{pos}/{len} stops, {eta} to go] {msg}";
    let progress = ProgressBar::new(args.stops.into())
        .with_style(ProgressStyle::with_template(style)?);
    let runtime = Runtime::new()?;
    let mut rng = Rng::with_seed(seed);
    let mut all = Readers::default();
    let mut longest = Duration::ZERO;
    for number in 1..=args.stops {
        let wait = LATEST.mul_f64(rng.f64());
        let stop = stop(args.program, &binary, wait);
        let stopped = runtime.block_on(stop);
        let (one, took) = stopped.with_context(|| format!("stop {number}"))?;
        if one.cut > 0 || took > STOP {
            progress.suspend(|| {
                eprintln!("stop {number} FAILED: {one:?} in {took:?}, {wait:?} after the start");
            });
        }
        all.whole += one.whole;
        all.cut += one.cut;
        all.refused += one.refused;
        longest = longest.max(took);
        progress.set_message(format!("{all:?}"));
        progress.inc(1);
    }
    progress.finish_and_clear();
    let Readers { whole, cut, refused } = all;
    let table = format!(
        "Seed {seed}, {}\n\n\
         | program | stops | streams | cut off | refused | longest |\n\
         | --- | --: | --: | --: | --: | --: |\n\
         | {name} | {} | {} | {cut} | {refused} | {:.0} ms |\n",
        program.framework()?,
        args.stops,
        whole + cut,
        ms(longest),
    );
    publish("cargo run --release", &table, args.save.as_deref())?;
    ensure!(whole > 0, "no stream has begun");
    ensure!(cut == 0 && longest <= STOP, "{cut} streams cut off, {longest:?}");
    Ok(())
}

/// Starts the program, and stops it so long after the first reader has come.
async fn stop(
    which: Which,
    binary: &Binary,
    wait: Duration,
) -> Result<(Readers, Duration)> {
    // The folder that cargo builds in: one for temporary files may be in memory.
    let dir = tempfile::tempdir_in(record::root().join("bench/target"))?;
    let dir = dir.path().to_str().context("a strange path")?;
    let variables = [
        ("FEED_DIR", dir),
        ("NO_PROXY", "127.0.0.1"),
        ("TOKIO_WORKER_THREADS", "2"),
    ];
    let mut running = binary.start(&cpus()?.0, &variables).await?;
    let addr = running.addr;
    let request = Arc::new(running.during(which.request(addr)).await?);
    let mut readers = JoinSet::new();
    let places = Arc::new(Semaphore::new(ARRIVING));
    let arriving = async {
        loop {
            let place = places.clone().acquire_owned().await?;
            let request = request.clone();
            readers.spawn(async move { read(addr, &request, place).await });
        }
    };
    let stopping = async {
        sleep(wait).await;
        running.stop().await
    };
    let took = tokio::select! {
        took = stopping => took,
        never = arriving => never,
    }?;
    let mut count = Readers::default();
    for answer in readers.join_all().await {
        match &answer[..] {
            [] => count.refused += 1,
            whole if whole.ends_with(b"0\r\n\r\n") => count.whole += 1,
            other if other.starts_with(b"HTTP/1.1 5") => count.refused += 1,
            _ => count.cut += 1,
        }
    }
    ensure!(running.panics()?.is_empty(), "{:?}", running.panics()?);
    Ok((count, took))
}

/// A reader takes what it is sent, until the connection ends in one way or the other, and
/// has its place until the first byte.
async fn read(
    addr: SocketAddr,
    request: &str,
    place: OwnedSemaphorePermit,
) -> Vec<u8> {
    let mut answer = Vec::new();
    // Where too many wait, the kernel is silent, and asks again in a second.
    if let Ok(Ok(mut stream)) = timeout(PATIENCE, TcpStream::connect(addr)).await
        && stream.write_all(request.as_bytes()).await.is_ok()
        && stream.read_buf(&mut answer).await.is_ok()
    {
        drop(place);
        drop(stream.read_to_end(&mut answer).await);
    } else {
        sleep(PACE).await;
    }
    answer
}

impl Which {
    /// The request of each reader.
    async fn request(self, addr: SocketAddr) -> Result<String> {
        let path = match self {
            Self::Chat => "/chat".into(),
            Self::Feed => "/events".into(),
            Self::Llm => {
                let question = r#"{"prompt":"What is a stop?"}"#;
                let mut connection = Connection::open(addr).await?;
                let head =
                    connection.post("/answers", JSON, question, "201").await?;
                format!("/{}", head.get("location").context("no location")?)
            }
            Self::Model => {
                let body = r#"{"model":"stand-in","stream":true,"messages":[]}"#;
                return Ok(format!(
                    "POST /v1/chat/completions HTTP/1.1\r\nhost: {addr}\r\n\
                     content-type: {JSON}\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                ));
            }
        };
        Ok(format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\n\r\n"))
    }
}
