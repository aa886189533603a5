//! The faults: what each one is, and the bytes that it sends.

use std::{future, io, iter, ops::RangeFrom};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use salvo::http::StatusCode;
use tokio::task::yield_now;
use tokio::time::{Duration, sleep};

/// The time between two events of a stream that is good.
const SECOND: Duration = Duration::from_secs(1);
/// The time between two bytes of `drip`, and between two pieces of `endless-line`.
const PACE: Duration = Duration::from_millis(100);
/// `endless-line` sends pieces of this many bytes, 40 KiB a second,
const PIECE: usize = 4_096;
/// and ends after so many: a client that waits for the end of the line keeps 512 KiB.
const PIECES: usize = 128;
/// How long `retry-0` holds its stream open: without a pause, it is a denial of service.
const PAUSE: Duration = Duration::from_millis(500);

/// The name of a fault, and the steps of an attempt that gets it, in order. After the last
/// step the stream ends as it should, with its last chunk.
pub type Fault = (&'static str, &'static [Step]);

pub enum Step {
    /// Answers with this status, and no stream.
    Status(StatusCode),
    /// Sends the client to a good stream.
    Redirect(StatusCode),
    /// Sends the head of a stream: 200, and this content type.
    Head(&'static str),
    Event,
    /// Sends an event each second.
    Events,
    /// Sends an event without the empty line at its end.
    Half,
    Retry(&'static str),
    /// Sends events, one byte at a time.
    Drip,
    /// Sends one line that never ends.
    Line,
    Pause,
    /// Sends nothing more, and keeps the connection open.
    Stall,
    /// Closes the connection in the middle of the answer.
    Cut,
}
use Step::*;

const STREAM: Step = Head("text/event-stream");

#[rustfmt::skip]
const FAULTS: [Fault; 24] = [
    ("good",                &[STREAM, Events]),
    ("refuse",              &[Cut]),
    ("silent-head",         &[Stall]),
    ("204",                 &[Status(StatusCode::NO_CONTENT)]),
    ("301",                 &[Redirect(StatusCode::MOVED_PERMANENTLY)]),
    ("307",                 &[Redirect(StatusCode::TEMPORARY_REDIRECT)]),
    ("401",                 &[Status(StatusCode::UNAUTHORIZED)]),
    ("404",                 &[Status(StatusCode::NOT_FOUND)]),
    ("500",                 &[Status(StatusCode::INTERNAL_SERVER_ERROR)]),
    ("502",                 &[Status(StatusCode::BAD_GATEWAY)]),
    ("wrong-type",          &[Head("text/plain"), Event]),
    ("wrong-type-open",     &[Head("text/plain"), Events]),
    ("charset",             &[Head("text/event-stream; charset=utf-8"), Events]),
    ("latin1",              &[Head("text/event-stream; charset=iso-8859-1"), Events]),
    // ANCHOR: rows
    ("cut-between-events",  &[STREAM, Event, Cut]),
    ("cut-mid-event",       &[STREAM, Event, Half, Cut]),
    ("no-final-blank-line", &[STREAM, Event, Half]),
    ("stall",               &[STREAM, Event, Stall]),
    // ANCHOR_END: rows
    ("drip",                &[STREAM, Drip]),
    ("endless-line",        &[STREAM, Event, Line, Cut]),
    ("retry-0",             &[STREAM, Retry("0"), Event, Pause]),
    ("retry-10000",         &[STREAM, Retry("10000"), Event]),
    ("retry-huge",          &[STREAM, Retry("86400000"), Event]),
    ("retry-overflow",      &[STREAM, Retry("99999999999999999999"), Event]),
];

/// Finds a fault by its name, or says which names there are.
pub fn find(name: &str) -> Result<&'static Fault, String> {
    let names = || FAULTS.map(|(name, _)| name).join(", ");
    let found = FAULTS.iter().find(|(known, _)| *known == name);
    found.ok_or_else(|| format!("the faults are: {}", names()))
}

pub type Chunk = io::Result<Bytes>;

// ANCHOR: chunks
/// The chunks that a step sends.
pub fn chunks(step: &Step, ids: &mut RangeFrom<u64>) -> BoxStream<'static, Chunk> {
    let mut next = || ids.next().map(event).unwrap_or_default();
    match step {
        Event => one(next()),
        Half => one(next().replace("\n\n", "\n")),
        Retry(value) => one(format!("retry: {value}\n\n")),
        Events => every(SECOND, ids.clone().map(event)),
        Drip => {
            let bytes = ids.clone().flat_map(|id| event(id).into_bytes());
            every(PACE, bytes.map(|byte| char::from(byte).into()))
        }
        Line => {
            let pieces = iter::repeat_n("x".repeat(PIECE), PIECES);
            every(PACE, iter::once("data: ".into()).chain(pieces))
        }
        Pause => stream::once(sleep(PAUSE)).flat_map(|()| stream::empty()).boxed(),
        Stall => stream::pending().boxed(),
        Cut => stream::once(cut()).boxed(),
        Status(_) | Redirect(_) | Head(_) => stream::empty().boxed(),
    }
}
// ANCHOR_END: chunks

fn event(id: u64) -> String {
    format!("id: {id}\ndata: event {id}\n\n")
}

fn one(text: String) -> BoxStream<'static, Chunk> {
    stream::once(future::ready(Ok(text.into()))).boxed()
}

/// Sends the first piece now, and each of the others after a pause.
fn every(
    pause: Duration,
    pieces: impl Iterator<Item = String> + Send + 'static,
) -> BoxStream<'static, Chunk> {
    let pieces = stream::iter(pieces.enumerate());
    let chunks = pieces.then(move |(n, piece)| async move {
        if n > 0 {
            sleep(pause).await;
        }
        Ok(piece.into())
    });
    chunks.boxed()
}

// ANCHOR: cut
/// An error in place of bytes: the server has no way left to say that it failed, so it
/// closes the connection.
async fn cut() -> Chunk {
    // The server writes when it has to wait. Without this wait, the chunks before the error
    // would never arrive.
    yield_now().await;
    Err(broken())
}
// ANCHOR_END: cut

pub fn broken() -> io::Error {
    io::Error::other("broken, as you asked")
}
