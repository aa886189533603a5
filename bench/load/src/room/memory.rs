//! How memory grows behind a reader that has stopped reading.

use std::convert::Infallible;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::{fs, time::Duration};

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::time::timeout;

use super::reader::{Heard, Poster, connect, hear, message};
use crate::http::Events;
use crate::machine::leave_a_core;
use crate::server::{self, Program};

const MESSAGES: usize = 200_000;
/// Bytes of each message: a line of a chat. The kernel's buffers take the first twenty
/// thousand of these for the reader, so the curve starts to rise late.
const LENGTH: usize = 100;
/// Messages between two looks at the server's memory.
const STEP: usize = 2_000;
/// How far the poster may be ahead of the reader that reads, so that this one never lags.
const AHEAD: usize = 400;
const PATIENCE: Duration = Duration::from_secs(10);
/// The chart's plot area.
const WIDTH: u64 = 600;
const HEIGHT: u64 = 200;

struct Sample {
    messages: usize,
    rss_kib: u64,
}

/// Records the curve of each program, and saves them beside the other tables.
pub fn record(programs: &[&Program]) -> Result<()> {
    let built = programs.iter().map(|program| Ok((program.name, program.build()?)));
    let built = built.collect::<Result<Vec<_>>>()?;
    let core = leave_a_core()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let mut curves = Vec::new();
    for (name, binary) in built {
        let curve = runtime.block_on(async {
            let mut running = binary.start(&core, &[]).await?;
            let curve = curve(name, running.addr, running.pid);
            running.during(curve).await
        });
        curves.push((name, curve.context(name)?));
    }
    save(&curves)
}

async fn curve(name: &str, addr: SocketAddr, pid: u32) -> Result<Vec<Sample>> {
    let mut last_id = Vec::new();
    // Kept, and never read from again.
    let (_stuck, _) = connect(addr, 1, &mut last_id).await?;
    let (events, _) = connect(addr, 2, &mut last_id).await?;
    let (mut poster, told) = Poster::join(addr, 3).await?;
    tokio::spawn(told.ignore());
    let (sender, mut received) = watch::channel(0);
    tokio::spawn(count(events, last_id, sender));

    let mut curve = vec![Sample { messages: 0, rss_kib: server::rss(pid)? }];
    for sent in 1..=MESSAGES {
        poster.post(&format!("{:.<LENGTH$}", message(sent))).await?;
        let look = sent % STEP == 0;
        let behind = if look { 0 } else { AHEAD };
        let close = received.wait_for(|received| received + behind >= sent);
        let close = timeout(PATIENCE, close).await;
        close.with_context(|| {
            format!("{sent} sent, some not received after 10 s")
        })??;
        if look {
            curve.push(Sample { messages: sent, rss_kib: server::rss(pid)? });
            eprintln!("{name}: {sent} messages, {} KiB", curve[sent / STEP].rss_kib);
        }
    }
    Ok(curve)
}

/// Reads a stream, and counts its messages.
async fn count(
    mut events: Events,
    mut last_id: Vec<u8>,
    received: watch::Sender<usize>,
) -> Result<Infallible> {
    loop {
        while let Some(block) = events.next()? {
            if let Some(Heard::Message(_)) = hear(block, &mut last_id) {
                received.send_modify(|count| *count += 1);
            }
        }
        events.read().await?;
    }
}

fn save(curves: &[(&str, Vec<Sample>)]) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recorded");
    fs::create_dir_all(&folder)?;
    let mut lines = String::new();
    for (name, Sample { messages, rss_kib }) in curves
        .iter()
        .flat_map(|(name, curve)| curve.iter().map(move |sample| (name, sample)))
    {
        writeln!(
            lines,
            "{{\"server\":\"{name}\",\"messages\":{messages},\
             \"message_bytes\":{LENGTH},\"rss_kib\":{rss_kib}}}"
        )?;
    }
    fs::write(folder.join("memory.jsonl"), lines)?;
    let growth = |(_, curve): &(_, Vec<Sample>)| growth(curve).max().unwrap_or(0);
    let top = top_mib(curves.iter().map(growth).max().unwrap_or(0));
    fs::write(folder.join("memory-top.txt"), format!("{top}\n"))?;
    for (name, curve) in curves {
        fs::write(folder.join(format!("memory-{name}.points")), points(curve, top))?;
    }
    Ok(())
}

/// In KiB, over the start.
fn growth(curve: &[Sample]) -> impl Iterator<Item = u64> {
    let start = curve.first().map_or(0, |sample| sample.rss_kib);
    curve.iter().map(move |sample| sample.rss_kib.saturating_sub(start))
}

/// The number for the top of the chart, in MiB: 8, 9, 10, 15, 20, … 95, 100, 150, 200.
fn top_mib(kib: u64) -> u64 {
    let mib = kib.div_ceil(1024).max(1);
    let step = (10_u64.pow(mib.ilog10()) / 2).max(1);
    mib.next_multiple_of(step)
}

/// For the `points` attribute of an SVG polyline.
fn points(curve: &[Sample], top_mib: u64) -> String {
    let point = |(sample, growth): (&Sample, u64)| {
        let x = sample.messages as u64 * WIDTH / MESSAGES as u64;
        let y = HEIGHT - growth * HEIGHT / (top_mib * 1024);
        format!("{x},{y}")
    };
    let points: Vec<_> = curve.iter().zip(growth(curve)).map(point).collect();
    points.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_ends_at_a_round_number_that_nothing_exceeds() {
        assert_eq!(top_mib(0), 1);
        assert_eq!(top_mib(1025), 2);
        assert_eq!(top_mib(10 * 1024), 10);
        assert_eq!(top_mib(52 * 1024), 55);
        assert_eq!(top_mib(201 * 1024), 250);
    }

    #[test]
    fn a_curve_begins_at_the_bottom_left_whatever_the_server_had_before() {
        let curve = [(0, 5000), (100_000, 5000 + 512), (200_000, 5000 + 1024)]
            .map(|(messages, rss_kib)| Sample { messages, rss_kib });
        assert_eq!(points(&curve, 1), "0,200 300,100 600,0");
        assert_eq!(points(&curve, 2), "0,200 300,150 600,100");
    }
}
