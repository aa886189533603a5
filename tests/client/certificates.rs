//! Streams over TLS: a certificate that is wrong stays wrong, other failures may pass.

use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::NamedTempFile;
use tests::scripted::stream;
use tests::{Ended, Process, example, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::client::Client;

/// A server with a certificate for `localhost`, and a file that makes a client trust it.
struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    trusted: NamedTempFile,
}

impl Tls {
    /// With a certificate that is valid until the end of this year.
    async fn start(last_year: i32) -> Self {
        let mut params = CertificateParams::new(["localhost".into()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(last_year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let mut trusted = NamedTempFile::new().unwrap();
        trusted.write_all(certificate.pem().as_bytes()).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![certificate.into()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, acceptor: TlsAcceptor::from(Arc::new(config)), trusted }
    }

    /// A client of this host, which may trust the certificate.
    fn client(&self, host: &str, trusts: bool) -> Client {
        let port = self.listener.local_addr().unwrap().port();
        let mut command = example("client");
        command.arg(format!("https://{host}:{port}/")).stdout(Stdio::piped());
        if trusts {
            command.env("SSL_CERT_FILE", self.trusted.path());
        }
        Client::from(Process::spawn(command))
    }

    /// Answers the next connection that gets as far as a request, with one event.
    async fn answer(&self) {
        let (socket, _) = self.listener.accept().await.unwrap();
        let Ok(mut socket) = self.acceptor.accept(socket).await else { return };
        let mut head = [0; 4096];
        if socket.read(&mut head).await.is_ok_and(|count| count > 0) {
            socket.write_all(stream("data: over TLS\n\n").as_bytes()).await.unwrap();
            socket.shutdown().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_wrong_ends_the_client_with_exit_code_2() {
    let good = Tls::start(2999).await;
    let mut client = good.client("localhost", true);
    let (line, ()) =
        within("an event", async { tokio::join!(client.line(), good.answer()) })
            .await;
    assert_eq!(line, "message: over TLS");

    let expired = Tls::start(2021).await;
    for (tls, host, trusts) in [
        (&good, "localhost", false), // signed by nobody whom this machine trusts
        (&good, "127.0.0.1", true),  // for another name
        (&expired, "localhost", true),
    ] {
        let client = tls.client(host, trusts);
        let (Ended { code, stdout, stderr }, ()) =
            within("an end", async { tokio::join!(client.ended(), tls.answer()) })
                .await;
        assert_eq!((code, &*stdout), (Some(2), ""), "{host} {trusts}: {stderr}");
        assert!(stderr.contains("certificate"), "{stderr}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_ready_for_tls_is_tried_again() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", server.local_addr().unwrap());
    let client = Client::start(&["--max-attempts", "1", &url]);
    let (mut socket, _) = within("a connection", server.accept()).await.unwrap();
    socket.write_all(b"HTTP/1.1 503 Busy\r\n\r\n").await.unwrap();
    let ended = client.ended().await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
}
