//! The fate of a stream where a NAT forgets it, or its reader gets another address.

use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use memchr::memmem;
use tokio::time::{sleep_until, timeout_at};

use crate::client::{Connection, Options, Protocol};
use crate::link::{Line, Link};
use crate::server;

/// A fault of the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The server is silent, and nothing else happens.
    Silence,
    /// The server is silent, and a NAT forgets the flow.
    Forgotten,
    /// The server is busy, and the NAT starts again.
    Restarted,
    /// The server is busy, and the reader gets another address.
    Moved,
}

/// A way to keep the stream alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cure {
    None,
    /// A comment of the server's.
    Heartbeat,
    /// TCP's keep-alive or QUIC's, of the client's system or library.
    Probes,
    /// The client knows of its new address, and tells QUIC.
    Rebind,
}

#[derive(Clone, Copy)]
pub struct Case {
    pub event: Event,
    pub protocol: Protocol,
    pub cure: Cure,
}

/// How long things take.
#[derive(Clone, Copy)]
pub struct Times {
    pub silence: Duration,
    /// Silence, where a NAT forgets. It forgets after two thirds of it.
    pub forgotten: Duration,
    /// Between heartbeats, and between probes.
    pub often: Duration,
    /// How long the reader is watched, from its first event.
    pub watch: Duration,
}

impl Times {
    /// Those of the table. A NAT at home or of a phone's network waits for longer than ten
    /// seconds, but for UDP often no longer than thirty.
    pub const RECORDED: Self = Self {
        silence: Duration::from_secs(45),
        forgotten: Duration::from_secs(15),
        often: Duration::from_secs(4),
        watch: Duration::from_secs(60),
    };
}

/// The outcome, and when it came: since it happened, or in silence, since the first event.
#[derive(Debug)]
pub struct Seen {
    /// The next event came.
    pub event: Option<Duration>,
    /// The reader was told that the stream is over.
    pub end: Option<(Duration, String)>,
    /// The server dropped the stream.
    pub left: Option<Duration>,
}

/// Events of a busy server.
const PACE: Duration = Duration::from_millis(200);
/// It happens between two of these, when nothing is on the way.
const WHEN: Duration = Duration::from_millis(3100);

/// Runs one case.
pub fn run(case: Case, times: Times) -> Result<Seen> {
    let Case { event, protocol, cure } = case;
    let forgets = (event == Event::Forgotten).then_some(times.forgotten * 2 / 3);
    let delay = Duration::from_millis(5);
    let mut link = Link::new(Line { delay, loss: 0, forgets });
    let server = server::start(&link, true)?;
    let silence = match event {
        Event::Silence => times.silence,
        Event::Forgotten => times.forgotten,
        Event::Restarted | Event::Moved => PACE,
    };
    let [pace, silence, often] =
        [PACE, silence, times.often].map(|time| time.as_millis());
    let mut path = format!("/events?every={pace}&silence={silence}");
    if cure == Cure::Heartbeat {
        path += &format!("&heartbeat={often}");
    }
    let probes = (cure == Cure::Probes).then_some(times.often);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let options = Options { probes, ..Options::default() };
        let mut connection =
            Connection::open(protocol, server.address, options).await?;
        let mut body = connection.get(&path).await?;
        body.next().await?;
        let mut happened = Instant::now();
        let end = happened + times.watch;
        let busy = matches!(event, Event::Restarted | Event::Moved);
        let mut act = busy.then_some(happened + WHEN);
        let mut seen = Seen { event: None, end: None, left: None };
        loop {
            let next = timeout_at(act.unwrap_or(end).into(), body.next()).await;
            match next {
                Err(_) if act.take().is_some() => {
                    match event {
                        Event::Moved => {
                            let here = u32::from(link.here);
                            link.move_to(Ipv4Addr::from(here + 2));
                        }
                        _ => link.forget(),
                    }
                    happened = Instant::now();
                    if let (Cure::Rebind, Connection::Http3(_, endpoint)) =
                        (cure, &connection)
                    {
                        endpoint.rebind(UdpSocket::bind("0.0.0.0:0")?)?;
                    }
                }
                Err(_) => break,
                Ok(Ok(Some(bytes))) => {
                    let is_event = memmem::find(&bytes, b"data").is_some();
                    if act.is_none() && is_event && seen.event.is_none() {
                        seen.event = Some(happened.elapsed());
                    }
                }
                Ok(Ok(None)) => {
                    seen.end = Some((happened.elapsed(), "end".into()));
                    break;
                }
                Ok(Err(error)) => {
                    seen.end = Some((happened.elapsed(), format!("{error:#}")));
                    break;
                }
            }
        }
        sleep_until(end.into()).await;
        let left = server.left.try_iter().next();
        seen.left = left.map(|left| left.saturating_duration_since(happened));
        Ok(seen)
    })
}

/// Each of these protocols and cures in each event.
pub const CASES: [(Protocol, Cure); 10] = [
    (Protocol::Http1, Cure::None),
    (Protocol::Http1, Cure::Heartbeat),
    (Protocol::Http1, Cure::Probes),
    (Protocol::Http2, Cure::None),
    (Protocol::Http2, Cure::Heartbeat),
    (Protocol::Http2, Cure::Probes),
    (Protocol::Http3, Cure::None),
    (Protocol::Http3, Cure::Heartbeat),
    (Protocol::Http3, Cure::Probes),
    (Protocol::Http3, Cure::Rebind),
];

const EVENTS: [Event; 4] =
    [Event::Silence, Event::Forgotten, Event::Restarted, Event::Moved];

/// Runs all cases beside each other, because they only wait, and returns the table's rows.
pub fn rows(times: Times) -> Result<String> {
    thread::scope(|scope| {
        let rows: Vec<_> = CASES
            .iter()
            .map(|&(protocol, cure)| {
                let runs = EVENTS.map(|event| {
                    // Events of a busy server are the heartbeat.
                    let busy = matches!(event, Event::Restarted | Event::Moved);
                    let makes_sense = match cure {
                        Cure::None | Cure::Probes => true,
                        Cure::Heartbeat => !busy,
                        Cure::Rebind => busy,
                    };
                    let case = Case { event, protocol, cure };
                    makes_sense.then(|| scope.spawn(move || run(case, times)))
                });
                (protocol, cure, runs)
            })
            .collect();
        let mut table = String::new();
        for (protocol, cure, runs) in rows {
            let name = match (cure, protocol) {
                (Cure::None, _) => protocol.to_string(),
                (Cure::Heartbeat, _) => format!("{protocol}, `:`"),
                (Cure::Probes, Protocol::Http3) => format!("{protocol}, `PING`"),
                (Cure::Probes, _) => format!("{protocol}, `SO_KEEPALIVE`"),
                (Cure::Rebind, _) => format!("{protocol}, `rebind`"),
            };
            table += &format!("| {name} |");
            for run in runs {
                let cell = match run {
                    None => String::new(),
                    Some(run) => run.join().expect("no panic")?.cell(),
                };
                table += &format!(" {cell} |");
            }
            table += "\n";
        }
        Ok(table)
    })
}

impl Seen {
    /// The seconds until the next event, or until the reader was told, and what; and the
    /// seconds until the server let go.
    fn cell(&self) -> String {
        let seconds = |time: Duration| match time.as_secs_f32().round() {
            0.0 => "< 1 s".to_string(),
            time => format!("{time} s"),
        };
        match (&self.event, &self.end, self.left) {
            (Some(event), None, _) => seconds(*event),
            (_, Some((told, error)), left) => {
                let name = if error.contains("reset") {
                    "ECONNRESET"
                } else if error.contains("timed out") {
                    "ETIMEDOUT"
                } else if error.contains("Timeout") {
                    "idle"
                } else {
                    error
                };
                let left = left.map_or("∞".into(), seconds);
                format!("`{name}` {} / {left}", seconds(*told))
            }
            (None, None, None) => "∞ / ∞".into(),
            (None, None, Some(left)) => format!("∞ / {}", seconds(left)),
        }
    }
}
