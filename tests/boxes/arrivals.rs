//! The commands that show whether it is the proxy, in front of boxes that hold back.

use std::time::Duration;
use std::{env, fs};

use tests::{Middlebox, Program, assert_recorded, root, session, within};
use tokio::task::spawn_blocking;

/// Bytes that come this soon after others came together: half of the time between two events.
const TOGETHER: Duration = Duration::from_millis(25);

/// How the bytes came of each command of a session, but of the first, which defines `arrivals`.
fn ways(session: &str) -> Vec<&'static str> {
    session.split("$ ").skip(2).map(way).collect()
}

fn way(shown: &str) -> &'static str {
    let lines = shown.lines().filter(|line| line.contains("Recv data"));
    let times: Vec<_> = lines.map(time).collect();
    let groups = times.chunk_by(|a, b| b.saturating_sub(*a) < TOGETHER).count();
    let count = shown.split_once("count=").expect("a number of events").1;
    let events: usize = count[..count.find('&').unwrap()].parse().unwrap();
    match groups {
        ..2 => "in one piece",
        some if some < events / 2 => "in groups",
        _ => "one by one",
    }
}

/// The time in front of a line, as in `19:40:01.123456`.
fn time(line: &str) -> Duration {
    let parts = line.split([':', ' ']).take(3);
    let seconds = parts.fold(0.0, |sum, part| sum * 60.0 + seconds(part));
    Duration::from_secs_f64(seconds)
}

fn seconds(text: &str) -> f64 {
    text.parse().expect("a number")
}

/// Runs the session until it shows this, as its recording does: a busy machine groups what
/// comes one by one.
async fn shows(file: &'static str, box_name: &str, expected: &[&str]) {
    let program = Program::start("boxes").await;
    let middlebox = Middlebox::start(box_name, "default", &program.url).await;
    let places = [program.url.clone(), middlebox.url.clone()];
    let what = format!("a session that shows {expected:?}");
    let shown = within(&what, async {
        loop {
            let [program, middlebox] = places.clone();
            let running = spawn_blocking(move || {
                let ports = ["http://127.0.0.1:8698", "http://127.0.0.1:8690"];
                session(file, &[(ports[0], &program), (ports[1], &middlebox)])
            });
            let shown = running.await.unwrap();
            eprintln!("{shown}");
            if ways(&shown) == expected {
                break shown;
            }
        }
    })
    .await;
    if env::var_os("RECORD").is_some() {
        assert_recorded(file, &shown);
    }
    let recorded = fs::read_to_string(root().join("examples").join(file)).unwrap();
    assert_eq!(ways(&recorded), expected, "RECORD=1 records it anew");
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn the_times_of_bytes_show_that_nginx_collects_and_the_program_does_not() {
    let expected = ["one by one", "in one piece"];
    shows("boxes/recorded/arrivals-nginx.txt", "nginx", &expected).await;
}

#[tokio::test]
#[ignore = "needs proxies: tests/boxes/install"]
async fn the_times_of_bytes_show_that_haproxy_sends_in_groups() {
    shows("boxes/recorded/arrivals-haproxy.txt", "haproxy", &["in groups"]).await;
}
