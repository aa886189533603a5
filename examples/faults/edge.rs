//! The edge of a program, where strangers knock: how many connections it takes, how long each
//! may keep it waiting, how much of a body it reads, and which pages may send requests.
//!
//! The same file stands in `chat`, `llm`, `progress`, `feed`, `wire`, `faults`, `page` and
//! `boxes`. Left out: a bound for each client (one client can take all places), and the
//! server's own names.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::StreamExt;
use salvo::conn::tcp::{TcpAcceptor, TcpCoupler};
use salvo::conn::{Accepted, Acceptor, Holding, StraightStream};
use salvo::fuse::{ArcFusePolicy, FuseConfig};
use salvo::http::uri::{Authority, Uri};
use salvo::http::{HeaderValue, header};
use salvo::prelude::*;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Connections that are kept free of streams: for requests, and for the answer that no
/// stream is free. Where there are few connections, it is a fourth of them.
const SPARE: usize = 2_048;
/// Bytes of the head of a request: the least that hyper accepts. As many bytes wait in this
/// program for one reader that does not read. Its default is 400 KiB.
const MAX_HEAD: usize = 8_192;
/// Bytes of a body that are read although they are too many, so that the client looks for
/// an answer.
const MAX_DRAINED: usize = 2 << 20;
/// How long a whole head may take, and a whole body.
const HEAD: Duration = Duration::from_secs(15);
const BODY: Duration = Duration::from_secs(30);
/// How long a client may take nothing of what it is sent.
const STALL: Duration = Duration::from_secs(30);
/// How long a connection that is closed is read on (RFC 9112, 9.6), and how many bytes.
const LINGER: Duration = Duration::from_secs(5);
const MAX_LINGERED: usize = 64 << 20;

/// How many streams, and how many connections, this program may have at once.
pub struct Limits {
    pub streams: usize,
    connections: usize,
}

impl Limits {
    /// Raises the limit of open files for so many streams, and for the files that the program
    /// opens itself. Where the system does not allow it, there are fewer streams. (A server
    /// that has no connection left accepts none, and its clients wait in silence.)
    pub fn raise(streams: usize, own_files: usize) -> io::Result<Self> {
        // A third more connections than streams: then a fourth of them is free of streams.
        let wanted = own_files + streams + SPARE.min(streams.div_ceil(3));
        let files = rlimit::increase_nofile_limit(wanted as u64)?;
        let files = usize::try_from(files).unwrap_or(wanted).min(wanted);
        let connections = files.saturating_sub(own_files);
        let few = || {
            format!("{files} open files are too few (ulimit -Hn has to be {wanted})")
        };
        if connections < 2 {
            return Err(io::Error::other(few()));
        }
        let allowed = streams.min(connections - SPARE.min(connections.div_ceil(4)));
        if allowed < streams {
            tracing::warn!("{}: {allowed} streams at once, not {streams}", few());
        }
        Ok(Self { streams: allowed, connections })
    }
}

/// A server with these limits. When `stop` is cancelled, it waits no longer for clients that
/// do not close their connection.
pub fn server(
    listener: TcpListener,
    limits: &Limits,
    stop: CancellationToken,
) -> io::Result<Server<Edge>> {
    // Its connections inherit this. Without it, an event waits until the client has confirmed
    // the one before (Nagle's algorithm, RFC 9293, 3.7.4): up to a round trip for each.
    SockRef::from(&listener).set_tcp_nodelay(true)?;
    let edge = Edge { inner: TcpAcceptor::try_from(listener)?, stop };
    let fuse = FuseConfig::default()
        .with_http1_header_timeout(HEAD)
        .with_write_stall_timeout(STALL);
    let mut server =
        Server::new(edge).fuse_config(fuse).max_connections(limits.connections);
    // Copy the head of a chunk, the event and the end of the chunk into one buffer: for small
    // events, one write is cheaper than a vectored write of three pieces.
    server.http1_mut().writev(false).max_buf_size(MAX_HEAD);
    Ok(server)
}

/// Accepts connections that are read on for a while when they are closed: a system that
/// closes with bytes unread resets the connection, and the client may lose the answer.
pub struct Edge {
    inner: TcpAcceptor,
    stop: CancellationToken,
}

impl Acceptor for Edge {
    type Coupler = TcpCoupler<Self::Stream>;
    type Stream = Lingering;

    fn holdings(&self) -> &[Holding] {
        self.inner.holdings()
    }

    async fn accept(
        &mut self,
        fuse: Option<ArcFusePolicy>,
    ) -> io::Result<Accepted<Self::Coupler, Self::Stream>> {
        let accepted = self.inner.accept(fuse).await?;
        let stop = self.stop.clone();
        let lingering =
            |inner| Lingering { inner, stop, over: None, left: MAX_LINGERED };
        Ok(accepted.map_into(|_| TcpCoupler::new(), lingering))
    }
}

pub struct Lingering {
    inner: StraightStream<TcpStream>,
    stop: CancellationToken,
    /// Ready when nothing is waited for any more, once this side is closed.
    over: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// How many bytes are read until then.
    left: usize,
}

impl AsyncWrite for Lingering {
    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        cx: &mut Context,
    ) -> Poll<io::Result<()>> {
        if self.over.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
            let stopped = self.stop.clone().cancelled_owned();
            self.over = Some(Box::pin(async {
                timeout(LINGER, stopped).await.ok();
            }));
        }
        let is_over =
            self.over.as_mut().is_none_or(|o| o.as_mut().poll(cx).is_ready());
        let mut bytes = [0; 8_192];
        while self.left > 0 {
            let mut bytes = ReadBuf::new(&mut bytes);
            // Tokio answers `Pending` now and then, even if there is always more to read.
            match Pin::new(&mut self.inner).poll_read(cx, &mut bytes) {
                Poll::Ready(Ok(())) if !bytes.filled().is_empty() => {
                    self.left = self.left.saturating_sub(bytes.filled().len());
                }
                Poll::Pending => break,
                Poll::Ready(_) => return Poll::Ready(Ok(())),
            }
        }
        if is_over { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut Context,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context,
        bytes: &mut ReadBuf,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, bytes)
    }
}

/// Reads a body of at most `max` bytes. Up to a bound, it also reads what is too much: many
/// clients look for the answer only when they have sent everything.
pub async fn read(req: &mut Request, max: usize) -> Result<Vec<u8>, StatusError> {
    let why = format!("the body has more than {max} bytes");
    let too_long = || StatusError::payload_too_large().brief(why);
    let length: Option<usize> = req.header("content-length");
    // This client asks before it sends: hyper says yes as soon as the body is read.
    if req.headers().contains_key(header::EXPECT) && length > Some(max) {
        return Err(too_long());
    }
    let mut body = req.take_body();
    let mut kept = Vec::new();
    let mut length = 0;
    let all = async {
        while let Some(frame) = body.next().await {
            let Ok(data) = frame?.into_data() else { continue };
            length += data.len();
            if length > MAX_DRAINED {
                break;
            }
            if length <= max {
                kept.extend_from_slice(&data);
            }
        }
        io::Result::Ok(())
    };
    match timeout(BODY, all).await {
        Ok(Ok(())) if length <= max => Ok(kept),
        Ok(Ok(())) => Err(too_long()),
        Ok(Err(_)) => Err(StatusError::bad_request().brief("the body broke off")),
        Err(_) => {
            let why = format!("the body did not end in {} s", BODY.as_secs());
            Err(StatusError::request_timeout().brief(why))
        }
    }
}

/// Closes the connection after an answer to a client that may be sending still, or for
/// which there was no place.
#[handler]
pub async fn close_if_refused(
    req: &mut Request,
    depot: &mut Depot,
    res: &mut Response,
    ctrl: &mut FlowCtrl,
) {
    ctrl.call_next(req, depot, res).await;
    if let Some(
        StatusCode::REQUEST_TIMEOUT
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::SERVICE_UNAVAILABLE,
    ) = res.status_code
    {
        let close = HeaderValue::from_static("close");
        res.headers_mut().insert(header::CONNECTION, close);
    }
}

// ANCHOR: foreign
/// Any web page can send requests to this server. A browser says where the page comes from:
/// in `Sec-Fetch-Site`, which it sends to https and to loopback only, or else in `Origin`.
/// Other clients send neither.
pub fn refuse_foreign(req: &Request) -> Result<(), StatusError> {
    let value = |name| req.headers().get(name).map(HeaderValue::as_bytes);
    let is_ours = match (value("sec-fetch-site"), value("origin")) {
        (Some(site), _) => [&b"same-origin"[..], b"none"].contains(&site),
        (None, Some(origin)) => is_same(origin, value("host").unwrap_or_default()),
        (None, None) => true,
    };
    let why = "a page of another origin has sent this; or else, a proxy in between does \
        not pass on the Host of the page";
    if is_ours { Ok(()) } else { Err(StatusError::forbidden().brief(why)) }
}

/// Whether an origin has this host. Upper and lower case do not matter, nor whether the port
/// is there if it is the scheme's own (RFC 6454, 6.2).
fn is_same(origin: &[u8], host: &[u8]) -> bool {
    let Ok(origin) = Uri::try_from(origin) else { return false };
    let Ok(host) = Authority::try_from(host) else { return false };
    let own = match origin.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return false,
    };
    let port = |port: Option<u16>| port.unwrap_or(own);
    origin.host().is_some_and(|name| name.eq_ignore_ascii_case(host.host()))
        && port(origin.port_u16()) == port(host.port_u16())
}
// ANCHOR_END: foreign
