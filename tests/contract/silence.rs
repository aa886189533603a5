//! Heartbeats take their time. All programs are silent at the same time, so that the tests
//! wait for the slowest one and not for each.

use std::collections::HashMap;
use std::env;
use std::panic::resume_unwind;
use std::sync::{LazyLock, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::time::timeout;

use crate::streams::{Running, Stream};
use crate::{ROWS, SILENCES};

/// How long a stream may be silent: proxies cut it after 30 or 60 s.
const LONGEST: Duration = Duration::from_secs(30);

/// The threads that wait for a heartbeat, by the names of their programs. The first test
/// that looks here starts all that this run of the tests wants.
static WAITING: LazyLock<Mutex<HashMap<&str, JoinHandle<()>>>> =
    LazyLock::new(|| {
        let filters: Vec<_> = env::args()
            .skip(1)
            .filter(|argument| !argument.starts_with('-'))
            .collect();
        let is_wanted = |name: &str| {
            let test = format!("{name}::silence_is_filled_with_comments");
            filters.is_empty() || filters.iter().any(|filter| test.contains(filter))
        };
        let wanted = rows().filter(|(name, ..)| is_wanted(name));
        Mutex::new(
            wanted
                .map(|(name, stream, begin)| (name, wait(name, stream, begin)))
                .collect(),
        )
    });

/// The programs whose silence is filled: the name, the stream, and its first text.
fn rows() -> impl Iterator<Item = (&'static str, Stream, &'static str)> {
    let rows = ROWS.iter().zip(SILENCES);
    rows.filter_map(|(name, silence)| {
        silence.map(|(stream, begin)| (*name, stream, begin))
    })
}

/// Fails unless a comment comes in the silence of this program.
pub async fn is_filled(name: &str) {
    let waiting = WAITING.lock().unwrap().remove(name);
    // A run with unusual arguments may not have been recognised as wanting this one.
    let waiting = waiting.unwrap_or_else(|| {
        let (name, stream, begin) =
            rows().find(|(other, ..)| *other == name).unwrap();
        wait(name, stream, begin)
    });
    if let Err(panic) = waiting.join() {
        resume_unwind(panic);
    }
}

fn wait(name: &'static str, stream: Stream, begin: &'static str) -> JoinHandle<()> {
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_all().build();
    thread::spawn(move || runtime().unwrap().block_on(comes(name, stream, begin)))
}

async fn comes(name: &str, stream: Stream, begin: &str) {
    let running = Running::start(name).await;
    let opening = running.prepare(stream).await;
    let mut answer = running.open(&opening).await;
    let mut text = String::new();
    let heartbeat = async {
        // An empty line may follow: Salvo's own comments have one.
        while !text.ends_with('\n')
            || text.lines().rfind(|line| !line.is_empty()) != Some(":")
        {
            let chunk = answer.chunk().await.unwrap().expect("the stream goes on");
            text += str::from_utf8(&chunk).unwrap();
        }
    };
    let came = timeout(LONGEST, heartbeat).await;
    assert!(came.is_ok(), "no heartbeat for {LONGEST:?}: {text}");
    assert!(text.starts_with(begin), "{text}");
}
