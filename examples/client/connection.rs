//! The connection to the server: how it is asked for, which proxy it goes through, and why
//! it failed.

use std::env;
use std::error::Error;
use std::io;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::header::{self, HeaderValue};
use reqwest::{Client, Response, Url, redirect};
use tokio::time::timeout;

use super::answer::check;
use super::failure::{End, Exit, Failure};
use super::options::Options;
use super::output::say;

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How many redirects in a row are followed, as many as browsers follow.
const MAX_REDIRECTS: usize = 20;
/// How many headers an answer may have. hyper's own limit is 100.
const MAX_HEADERS: usize = 1_000;

/// Asks for a stream.
pub struct Connector {
    client: Client,
    /// `None` where all connections are direct ones.
    proxies: Option<Matcher>,
}

impl Connector {
    pub fn new(options: &Options) -> Result<Self, End> {
        let origin = options.url.origin();
        let has_headers = !options.headers.is_empty();
        let redirects = redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > MAX_REDIRECTS {
                attempt.error("too many redirects")
            } else if has_headers && attempt.url().origin() != origin {
                attempt
                    .error("it redirects to another origin, and -H is not for that")
            } else {
                attempt.follow()
            }
        });
        let mut client = Client::builder()
            .redirect(redirects)
            .referer(false)
            .connect_timeout(CONNECT) // and no timeout for the whole response
            // Heads that browsers and curl read, too (RFC 9112, 5.1 and 5.2).
            .http1_max_headers(MAX_HEADERS)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_ignore_invalid_headers_in_responses(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true);
        let proxies = proxies();
        if proxies.is_none() {
            client = client.no_proxy();
        }
        let client = client.build();
        let client = client
            .map_err(|error| End(Exit::Usage, format!("cannot connect: {error}")))?;
        Ok(Self { client, proxies })
    }

    /// Connects, and returns the response if it is a stream.
    pub async fn connect(
        &self,
        options: &Options,
        last_event_id: &str,
    ) -> Result<Response, Failure> {
        let mut request = self
            .client
            .get(options.url.clone())
            .header(header::ACCEPT, "text/event-stream")
            .header(header::ACCEPT_ENCODING, "identity")
            .header(header::CACHE_CONTROL, "no-cache")
            .headers(options.headers.clone());
        if !last_event_id.is_empty() {
            match HeaderValue::from_bytes(last_event_id.as_bytes()) {
                Ok(id) => request = request.header("last-event-id", id),
                Err(_) => {
                    say("no header can have this last event ID: it is not sent")
                }
            }
        }
        let answered = timeout(options.idle, request.send()).await;
        let Ok(answered) = answered else {
            return Err(silence(options.idle).with(&self.via(&options.url)));
        };
        let response = answered.map_err(|error| {
            let via = self.via(error.url().unwrap_or(&options.url));
            explain(error).with(&via)
        })?;
        let via = self.via(response.url());
        check(response, last_event_id).map_err(|failure| failure.with(&via))
    }

    /// A remark that names the proxy on the way to a URL, or nothing where there is none.
    pub fn via(&self, url: &Url) -> String {
        let proxy = self.proxies.as_ref().and_then(|proxies| {
            let uri = url.as_str().parse().ok()?;
            Some(proxies.intercept(&uri)?.uri().to_string()) // without its password
        });
        proxy.map(|proxy| format!(", through the proxy {proxy}")).unwrap_or_default()
    }
}

/// The proxies that the environment names. reqwest finds the same ones, but goes through
/// them to an IP address even if `NO_PROXY` is `*`, where curl goes there directly.
fn proxies() -> Option<Matcher> {
    let hosts = ["NO_PROXY", "no_proxy"].iter().find_map(|name| env::var(name).ok());
    let hosts = hosts.unwrap_or_default();
    let are_used = hosts.split(',').all(|host| host.trim() != "*");
    are_used.then(Matcher::from_env)
}

/// The failure of a server that says nothing.
pub fn silence(idle: Duration) -> Failure {
    Failure::retry(format!("nothing came for {idle:?}"))
}

/// Explains an error of the connection to a person, and decides whether it is final.
pub fn explain(error: reqwest::Error) -> Failure {
    let error = error.without_url(); // a password may be in it
    let mut cause: &dyn Error = &error;
    let mut is_certificate = is_of_a_certificate(cause);
    while let Some(source) = cause.source() {
        cause = source;
        is_certificate |= is_of_a_certificate(cause);
    }
    if error.is_redirect() || error.is_builder() {
        return Failure::refused(cause.to_string());
    }
    if is_certificate {
        return Failure::refused(format!("no connection: {cause}"));
    }
    Failure::retry(match (error.is_connect(), error.is_timeout()) {
        (true, true) => format!("no connection in {CONNECT:?}"),
        (true, false) => format!("no connection: {cause}"),
        (false, _) => format!("the connection is lost: {cause}"),
    })
}

/// Whether an error says that a certificate is wrong. Waiting does not help.
fn is_of_a_certificate(error: &(dyn Error + 'static)) -> bool {
    use rustls::Error::{InvalidCertificate, NoCertificatesPresented};
    if let Some(error) = error.downcast_ref::<io::Error>() {
        // Its own `source` leaves out what it holds.
        return error.get_ref().is_some_and(|held| is_of_a_certificate(held));
    }
    matches!(
        error.downcast_ref(),
        Some(InvalidCertificate(_) | NoCertificatesPresented)
    )
}
