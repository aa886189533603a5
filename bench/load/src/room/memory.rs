//! How memory grows behind a reader that has stopped reading.

use std::fmt::Write;
use std::net::SocketAddr;
use std::{fs, time::Duration};

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::time::timeout;

use super::reader::{Poster, connect, listen, message};
use crate::machine::leave_a_core;
use crate::server;

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

/// How many messages were sent, and the server's memory then, in KiB.
type Sample = (usize, u64);

/// Records the curve of each program, and saves them beside the other tables.
pub fn record() -> Result<()> {
    let programs = [super::CHAT_NAIVE, super::CHAT];
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
    let (mut events, _) = connect(addr, 2, &mut last_id).await?;
    let mut poster = Poster::join(addr, 3).await?;
    let (sender, mut received) = watch::channel(0);
    tokio::spawn(async move {
        let count = |_| sender.send_modify(|count| *count += 1);
        listen(&mut events, &mut last_id, count).await
    });

    let mut curve = vec![(0, server::rss(pid)?)];
    for sent in 1..=MESSAGES {
        poster.post(&format!("{:.<LENGTH$}", message(sent))).await?;
        let look = sent % STEP == 0;
        let behind = if look { 0 } else { AHEAD };
        let close = received.wait_for(|received| received + behind >= sent);
        let close = timeout(PATIENCE, close).await;
        close
            .with_context(|| format!("message {sent} has not come after 10 s"))??;
        if look {
            let rss_kib = server::rss(pid)?;
            curve.push((sent, rss_kib));
            eprintln!("{name}: {sent} messages, {rss_kib} KiB");
        }
    }
    Ok(curve)
}

fn save(curves: &[(&str, Vec<Sample>)]) -> Result<()> {
    let folder = record::root().join("bench/recorded");
    let mut lines = String::new();
    let mut highest = 0;
    for (name, curve) in curves {
        for (messages, rss_kib) in curve {
            writeln!(
                lines,
                "{{\"server\":\"{name}\",\"messages\":{messages},\
                 \"message_bytes\":{LENGTH},\"rss_kib\":{rss_kib}}}"
            )?;
        }
        highest = growth(curve).fold(highest, u64::max);
    }
    fs::write(folder.join("memory.jsonl"), lines)?;
    let top = top_mib(highest);
    fs::write(folder.join("memory-top.txt"), format!("{top}\n"))?;
    for (name, curve) in curves {
        fs::write(folder.join(format!("memory-{name}.points")), points(curve, top))?;
    }
    Ok(())
}

/// In KiB, over the start.
fn growth(curve: &[Sample]) -> impl Iterator<Item = u64> {
    let start = curve.first().map_or(0, |(_, rss_kib)| *rss_kib);
    curve.iter().map(move |(_, rss_kib)| rss_kib.saturating_sub(start))
}

/// The number for the top of the chart, in MiB: 5, 10, 15, …
fn top_mib(kib: u64) -> u64 {
    kib.div_ceil(1024).max(1).next_multiple_of(5)
}

/// For the `points` attribute of an SVG polyline.
fn points(curve: &[Sample], top_mib: u64) -> String {
    let points = curve.iter().zip(growth(curve)).map(|((messages, _), growth)| {
        let x = *messages as u64 * WIDTH / MESSAGES as u64;
        let y = HEIGHT - growth * HEIGHT / (top_mib * 1024);
        format!("{x},{y}")
    });
    points.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_ends_at_a_round_number_that_nothing_exceeds() {
        assert_eq!(top_mib(0), 5);
        assert_eq!(top_mib(10 * 1024), 10);
        assert_eq!(top_mib(10 * 1024 + 1), 15);
    }

    #[test]
    fn a_curve_begins_at_the_bottom_left_whatever_the_server_had_before() {
        let curve = [(0, 5000), (100_000, 5000 + 512), (200_000, 5000 + 1024)];
        assert_eq!(points(&curve, 1), "0,200 300,100 600,0");
        assert_eq!(points(&curve, 2), "0,200 300,150 600,100");
    }
}
