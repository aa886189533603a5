//! The parsers that are compared, each behind the same function: chunks in, events out.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use eventsource_client::{Client as _, ClientBuilder, Error, SSE};
use futures_util::{FutureExt, Stream, StreamExt, stream};
use launchdarkly_sdk_transport as transport;
use record::{root, version};

/// Takes each event: its type, data and last event ID.
pub type Sink<'a> = &'a mut dyn FnMut(&str, &str, &str);

/// The state that is left when a stream has ended.
#[derive(Default)]
pub struct End {
    /// The last event ID that a reconnect would send.
    pub last: String,
    /// The reconnection time in milliseconds, as far as the crate tells it.
    pub retry: Option<u64>,
}

pub struct Subject {
    pub name: &'static str,
    /// An error is the crate's complaint: by the standard nothing is one.
    pub run: fn(Vec<Bytes>, Sink) -> Result<End>,
}

impl Subject {
    pub fn named(name: &str) -> Result<&'static Self> {
        let subject = SUBJECTS.iter().find(|subject| subject.name == name);
        subject.context("no such parser")
    }

    /// Its name in the tables: a crate with its version in the lock file.
    pub fn title(&self) -> Result<String> {
        Ok(match self.name {
            "client" => "`client`".into(),
            name => format!("{name} {}", version(&root().join("bench"), name)?),
        })
    }
}

/// One that has the parser of another one is not among them: reqwest-eventsource 0.6 reads
/// as eventsource-stream does, right or wrong.
pub const SUBJECTS: [Subject; 7] = [
    Subject { name: "client", run: client },
    Subject { name: "sse-parse", run: sse_parse },
    Subject { name: "sseer", run: sseer },
    Subject { name: "eventsource-stream2", run: eventsource_stream2 },
    Subject { name: "sse-stream", run: sse_stream },
    Subject { name: "eventsource-client", run: eventsource_client },
    Subject { name: "eventsource-stream", run: eventsource_stream },
];

fn body(
    chunks: Vec<Bytes>,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Unpin {
    stream::iter(chunks).map(Ok)
}

/// Bytes that are in memory already never have to be waited for.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("all chunks are there")
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

/// The book's own parser.
fn client(chunks: Vec<Bytes>, sink: Sink) -> Result<End> {
    let mut parser = crate::parser::Parser::new(16 << 20, String::new());
    for chunk in chunks {
        let mut events = parser.feed(&chunk);
        while let Some(event) = events.next()? {
            sink(event.event_type, &event.data, event.last_event_id);
        }
    }
    parser.end();
    let last = parser.last_event_id().into();
    Ok(End { last, retry: parser.retry().map(millis) })
}

fn sse_parse(chunks: Vec<Bytes>, sink: Sink) -> Result<End> {
    let mut parser = sse_parse::SseParser::new();
    for chunk in chunks {
        parser.feed(&chunk);
        while let Some(event) = parser.next_event() {
            sink(&event.event, &event.data, &event.id);
        }
    }
    parser.finish();
    let last = parser.last_event_id().into();
    Ok(End { last, retry: parser.retry().map(millis) })
}

/// eventsource-stream, and the two that began as it.
macro_rules! event_stream {
    ($name:ident) => {
        fn $name(chunks: Vec<Bytes>, sink: Sink) -> Result<End> {
            let mut events = ::$name::EventStream::new(body(chunks));
            let mut retry = None;
            while let Some(event) = now(events.next()) {
                let event = event?;
                retry = event.retry.map(millis).or(retry);
                sink(&event.event, &event.data, &event.id);
            }
            Ok(End { last: events.last_event_id().to_string(), retry })
        }
    };
}

event_stream!(eventsource_stream);
event_stream!(eventsource_stream2);
event_stream!(sseer);

/// Its blocks are raw: as its documentation says, the caller remembers the ID and leaves
/// blocks without data out.
fn sse_stream(chunks: Vec<Bytes>, sink: Sink) -> Result<End> {
    let mut blocks = sse_stream::SseByteStream::new(body(chunks));
    let mut end = End::default();
    while let Some(block) = now(blocks.next()) {
        let block = block?;
        end.last = block.id.unwrap_or(end.last);
        end.retry = block.retry.or(end.retry);
        let kind = block.event.filter(|kind| !kind.is_empty());
        if let Some(data) = block.data {
            sink(kind.as_deref().unwrap_or("message"), &data, &end.last);
        }
    }
    Ok(end)
}

/// Answers the first request with the chunks, and the next one, which is the reconnect,
/// never; but it keeps its last event ID.
#[derive(Clone, Default)]
struct Transport {
    chunks: Arc<Mutex<Option<Vec<Bytes>>>>,
    last: Arc<Mutex<Option<String>>>,
}

impl transport::HttpTransport for Transport {
    fn request(
        &self,
        request: transport::Request<Option<Bytes>>,
    ) -> transport::ResponseFuture {
        let chunks = self.chunks.lock().expect("no panic").take();
        let Some(chunks) = chunks else {
            let last = request.headers().get("last-event-id");
            let last =
                last.map(|last| String::from_utf8_lossy(last.as_bytes()).into());
            *self.last.lock().expect("no panic") = Some(last.unwrap_or_default());
            return Box::pin(std::future::pending());
        };
        let body: transport::ByteStream = Box::pin(stream::iter(chunks).map(Ok));
        Box::pin(async { Ok(transport::Response::new(body)) })
    }
}

fn eventsource_client(chunks: Vec<Bytes>, sink: Sink) -> Result<End> {
    let transport = Transport::default();
    *transport.chunks.lock().expect("no panic") = Some(chunks);
    let mut retry = None;
    let last = Arc::clone(&transport.last);
    // Its time passes at once where nothing else is to be done.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    let read = async {
        let client = ClientBuilder::for_url("http://in.memory/")?;
        let mut events = client.build_with_transport(transport).stream();
        while let Some(event) = events.next().await {
            match event {
                Ok(SSE::Event(event)) => {
                    retry = event.retry.or(retry);
                    let id = event.id.as_deref().unwrap_or_default();
                    sink(&event.event_type, &event.data, id);
                }
                Ok(_) | Err(Error::Eof | Error::UnexpectedEof) => {}
                Err(error) => bail!("{error}"),
            }
        }
        Ok(())
    };
    // Longer than any wait of the cases. Its end is what is expected: the client waits for
    // the answer to its reconnect.
    let waited =
        async { tokio::time::timeout(Duration::from_secs(3600), read).await };
    if let Ok(ended) = runtime.block_on(waited) {
        ended?;
    }
    let last = last.lock().expect("no panic").take().context("no reconnect")?;
    Ok(End { last, retry })
}
