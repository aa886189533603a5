//! An honest client beside the hostile ones: it misses nothing, and hears nothing twice.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;
use tokio::sync::watch::{self, Receiver};
use tokio::time::{sleep, timeout};

use crate::http::{Connection, Events, chunk};
use crate::scan::{Block, digits};

/// The readers look for this; the number of the event follows.
const MARKER: &str = "honest-";
/// The time between two events.
const PACE: Duration = Duration::from_millis(20);
/// Events after which a reader leaves, and comes back with the id of the last one.
const STAY: usize = 25;
/// An event that is this late has not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes and reads until it is `over`, and returns how many events were heard.
pub async fn beside(
    program: &str,
    addr: SocketAddr,
    mut over: Receiver<bool>,
) -> Result<usize> {
    match program {
        "chat" => {
            let [ann, bob] =
                [(); 2].map(|()| format!("{:032x}", fastrand::u128(..)));
            let say = |id: &str| {
                write(
                    addr,
                    format!("/chat/{id}"),
                    "text/plain",
                    str::to_string,
                    &over,
                )
            };
            let [ann_says, bob_says] = [say(&ann), say(&bob)];
            let ann = Reader::open(addr, format!("/chat?as={ann}"), marked).await?;
            let bob = Reader::open(addr, format!("/chat?as={bob}"), marked).await?;
            let heard =
                tokio::try_join!(follow(ann, bob_says), follow(bob, ann_says));
            heard.map(|(ann, bob)| ann + bob)
        }
        "feed" => {
            let event =
                |text: &str| format!(r#"{{"type":"honest","data":"{text}"}}"#);
            let events = write(addr, "/events".into(), JSON, event, &over);
            follow(Reader::open(addr, "/events".into(), marked).await?, events).await
        }
        "llm" => answers(addr, &over).await,
        "wire" => bytes(addr, &over).await,
        _ => {
            let reader = Reader::open(addr, "/faults/good".into(), by_id).await?;
            let over = async { Ok(over.wait_for(|over| *over).await.map(|_| 0)?) };
            follow(reader, over).await
        }
    }
}

const JSON: &str = "application/json";

/// Posts an event after the other, until it is over, and returns how many.
async fn write(
    addr: SocketAddr,
    path: String,
    kind: &str,
    body: impl Fn(&str) -> String,
    over: &Receiver<bool>,
) -> Result<usize> {
    let mut connection = Connection::open(addr).await?;
    let mut count = 0;
    while !*over.borrow() {
        count += 1;
        let body = body(&format!("{MARKER}{count}"));
        let post =
            timeout(PATIENCE, connection.post(&path, kind, &body, "20")).await;
        post.context("a POST has no answer")?.context("an honest POST")?;
        sleep(PACE).await;
    }
    Ok(count)
}

/// Reads what is written.
async fn follow(
    mut reader: Reader,
    write: impl Future<Output = Result<usize>>,
) -> Result<usize> {
    let written = watch::Sender::new(usize::MAX);
    let read = async {
        let mut written = written.subscribe();
        while reader.heard < *written.borrow_and_update() && !reader.done {
            tokio::select! {
                read = reader.read() => read?,
                _ = written.changed() => {}
            }
            let late = reader.last.elapsed();
            ensure!(late < PATIENCE, "nothing after event {}", reader.heard);
        }
        Ok(reader.heard)
    };
    let write = async {
        written.send_replace(write.await?);
        Ok(())
    };
    tokio::try_join!(read, write).map(|(heard, ())| heard)
}

/// Asks for answers, and reads each of them to its end.
async fn answers(addr: SocketAddr, over: &Receiver<bool>) -> Result<usize> {
    let mut heard = 0;
    while !*over.borrow() {
        let mut connection = Connection::open(addr).await?;
        let question = r#"{"prompt":"What is a heartbeat?"}"#;
        let Ok(head) = connection.post("/answers", JSON, question, "201").await
        else {
            // The hostile ones have all places, and that is a bound.
            sleep(PACE).await;
            continue;
        };
        let location = head.get("location").context("201 without a location")?;
        let reader = Reader::open(addr, format!("/{location}"), by_id).await?;
        heard += follow(reader, async { Ok(usize::MAX) }).await?;
    }
    Ok(heard)
}

/// Puts bytes, and reads them.
async fn bytes(addr: SocketAddr, over: &Receiver<bool>) -> Result<usize> {
    let path = format!("/wire/{MARKER}{:x}", fastrand::u128(..));
    let mut connection = Connection::open(addr).await?;
    let mut heard = 0;
    while !*over.borrow() {
        let events = heard..heard + 50;
        let events: String =
            events.map(|number| format!("id: {number}\ndata: x\n\n")).collect();
        connection.send("PUT", &path, "text/plain", &events, "20").await?;
        connection.get(&format!("{path}?chunk=20&pace=20")).await?;
        let mut read = Vec::new();
        while let Some(bytes) =
            timeout(PATIENCE, chunk(&mut connection.stream)).await??
        {
            read.extend(bytes);
        }
        ensure!(read == events.as_bytes(), "{read:?} are other bytes than were put");
        heard += 50;
    }
    Ok(heard)
}

/// A reader of numbered events, who leaves and comes back now and then.
struct Reader {
    addr: SocketAddr,
    path: String,
    number: fn(&Block) -> Option<usize>,
    events: Events,
    last_id: String,
    /// The number of the last event, and when it came.
    heard: usize,
    last: Instant,
    /// The stream says that nothing will follow.
    done: bool,
}

impl Reader {
    /// Returns when the first block has come: everything that is written from then on comes.
    async fn open(
        addr: SocketAddr,
        path: String,
        number: fn(&Block) -> Option<usize>,
    ) -> Result<Self> {
        let events = Events::open(addr, &path, "", 4_096).await?;
        let mut reader = Self {
            addr,
            path,
            number,
            events,
            last_id: String::new(),
            heard: 0,
            last: Instant::now(),
            done: false,
        };
        while reader.last_id.is_empty() && reader.heard == 0 {
            reader.read().await?;
        }
        Ok(reader)
    }

    /// Waits for more of the stream, and hears all of it.
    async fn read(&mut self) -> Result<()> {
        let read = timeout(PATIENCE, self.events.read()).await;
        read.with_context(|| format!("silence after event {}", self.heard))??;
        while let Some(block) = self.events.next()? {
            if !block.id.is_empty() {
                self.last_id = String::from_utf8(block.id.into())?;
            }
            if matches!(block.event, b"missed" | b"resync" | b"failure") {
                bail!("after event {}: {block:?}", self.heard);
            }
            self.done = block.event == b"done";
            if self.done {
                return Ok(());
            }
            let Some(number) = (self.number)(&block) else { continue };
            let before = self.heard;
            ensure!(number == before + 1, "event {number} after event {before}");
            self.heard = number;
            self.last = Instant::now();
            if number.is_multiple_of(STAY) {
                let last_id = format!("last-event-id: {}\r\n", self.last_id);
                self.events =
                    Events::open(self.addr, &self.path, &last_id, 4_096).await?;
            }
        }
        Ok(())
    }
}

fn by_id(block: &Block) -> Option<usize> {
    Some(digits(block.id)? as usize)
}

fn marked(block: &Block) -> Option<usize> {
    let at = memmem::find(block.data, MARKER.as_bytes())?;
    Some(digits(&block.data[at + MARKER.len()..])? as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::serve;
    use tokio::io::AsyncWriteExt;

    /// Reads a stream of these events.
    async fn hear(events: &'static [u32]) -> Result<usize> {
        let addr = serve("a stream", move |mut stream| async move {
            let events =
                events.iter().map(|n| format!("data: honest-{n}\nid: {n}\n\n"));
            let text =
                "HTTP/1.1 200 OK\r\n\r\n".to_string() + &events.collect::<String>();
            stream.write_all(text.as_bytes()).await?;
            std::future::pending().await
        });
        let reader = Reader::open(addr.await?, "/".into(), marked).await?;
        follow(reader, async { Ok(events.len()) }).await
    }

    #[tokio::test]
    async fn an_event_that_is_missing_or_comes_twice_is_an_error() {
        assert_eq!(hear(&[1, 2, 3]).await.unwrap(), 3);
        assert!(hear(&[1, 3]).await.is_err());
        assert!(hear(&[1, 2, 2]).await.is_err());
        assert!(hear(&[2, 1]).await.is_err());
    }
}
