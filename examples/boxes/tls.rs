//! The same router over TLS, where HTTP/2 and HTTP/3 are: on one port, TCP and UDP, with a
//! certificate that is made at each start and never leaves the memory.

use std::env;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertifiedKey, PublicKeyData, generate_simple_self_signed};
use salvo::conn::Acceptor;
use salvo::conn::quinn::QuinnListener;
use salvo::conn::rustls::{Keycert, RustlsConfig, RustlsListener};
use salvo::conn::tcp::TcpAcceptor;
use salvo::fuse::FuseConfig;
use salvo::prelude::*;
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::time::{Duration, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Connections at once, besides those over plain TCP. One may carry many streams.
const MAX_CONNECTIONS: usize = 256;
/// Streams of a connection of HTTP/2. The standard asks for 100 at least (RFC 9113, 6.5.2).
const MAX_STREAMS_OF_ONE: u32 = 128;
/// How long a handshake may take, and a whole head of HTTP/1.1.
const HEAD: Duration = Duration::from_secs(15);
/// How long a client of TCP may take nothing of what it is sent.
const STALL: Duration = Duration::from_secs(30);

/// A listener that is open already.
struct Open(TcpListener);

impl Listener for Open {
    type Acceptor = TcpAcceptor;

    async fn try_bind(self) -> salvo::Result<TcpAcceptor> {
        Ok(self.0.try_into()?)
    }
}

/// The pause between two looks at whether all streams are over, and how long the last bytes
/// of one may take to the network.
const LOOK: Duration = Duration::from_millis(10);
const FLUSH: Duration = Duration::from_millis(100);

/// Serves the router until `stop` is cancelled, and then as long as its streams take to end,
/// at most this time.
///
/// Over HTTP/3 they have to end before the connection says goodbye: the GOAWAY of h3 0.0.8
/// names the newest request as the first that was not served (RFC 9114, 5.2), and a client
/// then drops the stream that it was reading.
pub async fn serve(
    router: Arc<Router>,
    stop: CancellationToken,
    are_over: impl Fn() -> bool,
    ending: Duration,
) -> Result<(), String> {
    let addr = env::var("TLS_ADDR").unwrap_or_else(|_| "127.0.0.1:8699".into());
    let listen = |why: io::Error| {
        format!("cannot listen on {addr}: {why}; try TLS_ADDR=127.0.0.1:0")
    };
    let text = |why: io::Error| why.to_string();
    let tcp = TcpListener::bind(&addr).await.map_err(listen)?;
    SockRef::from(&tcp).set_tcp_nodelay(true).map_err(text)?;
    let local = tcp.local_addr().map_err(text)?;
    let (certificate, hash) = certificate().map_err(|why| why.to_string())?;
    let server = server(tcp, local, certificate).await.map_err(listen)?;
    println!("listening on https://{local}");
    println!("for Chromium: --ignore-certificate-errors-spki-list={hash}");
    let handle = server.handle();
    let stopping = async {
        stop.cancelled().await;
        let streams = async {
            while !are_over() {
                sleep(LOOK).await;
            }
            sleep(FLUSH).await;
        };
        timeout(ending, streams).await.ok();
        handle.stop_graceful(ending);
        Ok(())
    };
    tokio::try_join!(server.try_serve(router), stopping).map(|_| ()).map_err(text)
}

/// One server for TCP and UDP. Salvo names HTTP/3 in each answer's `Alt-Svc`.
async fn server(
    tcp: TcpListener,
    addr: SocketAddr,
    certificate: Keycert,
) -> io::Result<Server<impl Acceptor>> {
    let config = RustlsConfig::new(certificate);
    let quic = QuinnListener::new(config.clone().build_quinn_config()?, addr);
    let listener = quic.join(RustlsListener::new(config, Open(tcp)));
    let acceptor = listener.try_bind().await.map_err(io::Error::other)?;
    let fuse = FuseConfig::default()
        .with_tls_handshake_timeout(HEAD)
        .with_http1_header_timeout(HEAD)
        .with_write_stall_timeout(STALL);
    let mut server =
        Server::new(acceptor).fuse_config(fuse).max_connections(MAX_CONNECTIONS);
    server.http2_mut().max_concurrent_streams(MAX_STREAMS_OF_ONE);
    Ok(server)
}

/// A certificate that nobody has signed but itself, and the hash of its key.
fn certificate() -> Result<(Keycert, String), rcgen::Error> {
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names)?;
    let key = digest(&SHA256, &signing_key.subject_public_key_info());
    let keycert = Keycert::new().cert(cert.pem()).key(signing_key.serialize_pem());
    Ok((keycert, BASE64_STANDARD.encode(key)))
}
