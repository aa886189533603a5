//! A reader over HTTP/1.1, 2 and 3.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::{Buf, Bytes};
use futures_util::future::poll_fn;
use h3::client::{RequestStream, SendRequest};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Endpoint, TransportConfig};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, SignatureScheme,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
    Http3,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Http3 => "HTTP/3",
        })
    }
}

/// Settings of a client. The defaults are those of hyper and quinn.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// TCP's probes, HTTP/2's or QUIC's pings, so often.
    pub probes: Option<Duration>,
    /// Bytes that one stream may have on the way, and that all of a connection may.
    pub windows: Option<(u32, u32)>,
}

/// A connection. Over HTTP/1.1 it carries one stream.
pub enum Connection {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
    Http3(SendRequest<h3_quinn::OpenStreams, Bytes>, Endpoint),
}

/// A stream as it comes.
pub enum Body {
    Tcp(Incoming),
    Quic(Box<RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>>),
}

impl Connection {
    pub async fn open(
        protocol: Protocol,
        address: SocketAddr,
        options: Options,
    ) -> Result<Self> {
        match protocol {
            Protocol::Http1 => {
                let io = TokioIo::new(tls(address, b"http/1.1", options).await?);
                let (send, connection) = http1::handshake(io).await?;
                tokio::spawn(connection);
                Ok(Self::Http1(send))
            }
            Protocol::Http2 => {
                let io = TokioIo::new(tls(address, b"h2", options).await?);
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder.timer(TokioTimer::new());
                if let Some((stream, connection)) = options.windows {
                    builder.initial_stream_window_size(stream);
                    builder.initial_connection_window_size(connection);
                }
                let (send, connection) = builder.handshake(io).await?;
                tokio::spawn(connection);
                Ok(Self::Http2(send))
            }
            Protocol::Http3 => quic(address, options).await,
        }
    }

    pub async fn get(&mut self, path: &str) -> Result<Body> {
        let uri = format!("https://localhost{path}");
        let request = Request::get(&uri).header("host", "localhost");
        let response = match self {
            Self::Http1(send) => {
                let request = Request::get(path).header("host", "localhost");
                send.send_request(request.body(Empty::new())?).await?
            }
            Self::Http2(send) => {
                send.send_request(request.body(Empty::new())?).await?
            }
            Self::Http3(send, _) => {
                let mut stream = send.send_request(request.body(())?).await?;
                stream.finish().await?;
                let response = stream.recv_response().await?;
                if !response.status().is_success() {
                    bail!("{uri}: {}", response.status());
                }
                return Ok(Body::Quic(Box::new(stream)));
            }
        };
        if !response.status().is_success() {
            bail!("{uri}: {}", response.status());
        }
        Ok(Body::Tcp(response.into_body()))
    }
}

impl Body {
    /// The bytes that come next, or nothing at a clean end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::Tcp(body) => loop {
                let Some(frame) = body.frame().await else { return Ok(None) };
                if let Ok(bytes) = frame?.into_data() {
                    return Ok(Some(bytes));
                }
            },
            Self::Quic(stream) => {
                let bytes = stream.recv_data().await?;
                Ok(bytes.map(|mut bytes| bytes.copy_to_bytes(bytes.remaining())))
            }
        }
    }
}

async fn tls(
    address: SocketAddr,
    alpn: &[u8],
    options: Options,
) -> Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    if let Some(every) = options.probes {
        let probes = TcpKeepalive::new().with_time(every).with_interval(every);
        SockRef::from(&stream).set_tcp_keepalive(&probes.with_retries(3))?;
    }
    let connector = TlsConnector::from(Arc::new(config(alpn)?));
    Ok(connector.connect(ServerName::try_from("localhost")?, stream).await?)
}

async fn quic(address: SocketAddr, options: Options) -> Result<Connection> {
    let mut transport = TransportConfig::default();
    transport.keep_alive_interval(options.probes);
    if let Some((stream, connection)) = options.windows {
        transport.stream_receive_window(stream.into());
        transport.receive_window(connection.into());
    }
    let crypto = QuicClientConfig::try_from(config(b"h3")?)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    let endpoint = Endpoint::client(SocketAddr::from(([0, 0, 0, 0], 0)))?;
    let connection = endpoint.connect_with(config, address, "localhost")?.await;
    let connection = h3_quinn::Connection::new(connection.context("QUIC")?);
    let (mut driver, send) = h3::client::new(connection).await?;
    tokio::spawn(async move { poll_fn(|context| driver.poll_close(context)).await });
    Ok(Connection::Http3(send, endpoint))
}

fn config(alpn: &[u8]) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let mut config = config
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(config)
}

/// Believes every server: the network is this program's own.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer,
        _: &[CertificateDer],
        _: &ServerName,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = ring::default_provider();
        provider.signature_verification_algorithms.supported_schemes()
    }
}
