//! The client of the model server: it speaks OpenAI's protocol, and hands each token on as
//! it arrives.

use std::time::Duration;
use std::{env, error::Error, io};

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{Client, ClientBuilder, Response, Url, redirect};
use salvo::http::{HeaderMap, HeaderName, HeaderValue, header, uri::Uri};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;

use super::answer::MAX_GENERATING;
use super::chunk::quote;
use super::edge::{self, Limits};
use super::heard::{Beside, Heard};
use super::model;
use super::parser::{Parser, TooLarge};

// ANCHOR: bounds
/// How long the model server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the model server may be silent. The whole answer has no limit: a long one is no
/// fault.
const IDLE: Duration = Duration::from_secs(60);
/// How long the body of an error may take: the status is said in any case.
const ERROR: Duration = Duration::from_secs(5);
/// How long the body of a success may take that is not a stream: it may be an answer that costs.
const GLANCE: Duration = Duration::from_millis(500);
/// Bytes of one event from the model server. A token takes a few hundred.
const MAX_EVENT: usize = 256 << 10;
/// Characters of a reason that are shown.
const MAX_REASON: usize = 500;
// ANCHOR_END: bounds

// ANCHOR: upstream
/// The server that has the model.
pub struct Upstream {
    client: Client,
    /// The full address, as in `http://127.0.0.1:11434/v1/chat/completions`.
    url: Url,
    /// The API key, which is never shown to anybody.
    key: Option<String>,
    pub model: String,
    /// The proxy that the environment puts in between, and the variable that names it.
    proxy: Option<String>,
}
// ANCHOR_END: upstream

impl Upstream {
    /// The server that the environment names, or `None` where it names none.
    pub fn from_env() -> Result<Option<Self>, String> {
        let get = |name| {
            let value = env::var(name).ok().map(|value| value.trim().to_string());
            value.filter(|value| !value.is_empty())
        };
        let Some(base) = get("OPENAI_BASE_URL") else { return Ok(None) };
        let model =
            get("OPENAI_MODEL").ok_or("OPENAI_MODEL is not set: which model?")?;
        let key = get("OPENAI_API_KEY");
        let mut upstream = Self::new(Client::builder(), &base, key, model)?;
        upstream.proxy = proxy(&upstream.url);
        Ok(Some(upstream))
    }

    /// Starts the stand-in on a free port.
    pub async fn stand_in(stop: CancellationToken) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}/v1", listener.local_addr()?);
        let limits = Limits::raise(MAX_GENERATING, 0)?;
        let server = edge::server(listener, &limits, stop.clone())?;
        tokio::spawn(server.serve(model::service(limits.streams, stop)));
        // The stand-in is on this machine: requests to it must not go to a proxy.
        let client = Client::builder().no_proxy();
        Self::new(client, &base, None, model::NAME.into()).map_err(io::Error::other)
    }

    // ANCHOR: client
    fn new(
        client: ClientBuilder,
        base: &str,
        key: Option<String>,
        model: String,
    ) -> Result<Self, String> {
        let url = format!("{}/chat/completions", base.trim_end_matches('/'));
        let url = Url::parse(&url)
            .ok()
            .filter(|url| ["http", "https"].contains(&url.scheme()))
            .filter(|url| url.username().is_empty() && url.password().is_none())
            .filter(|url| url.query().is_none() && url.fragment().is_none())
            .ok_or("OPENAI_BASE_URL is no URL such as http://127.0.0.1:11434/v1")?;
        if key.as_ref().is_some_and(|key| HeaderValue::try_from(key).is_err()) {
            return Err("OPENAI_API_KEY has what no header can have".into());
        }
        let client = client
            // ANCHOR: timeouts
            .connect_timeout(CONNECT)
            .read_timeout(IDLE)
            // ANCHOR_END: timeouts
            .redirect(redirect::Policy::none()) // the key is for nobody else
            // The server may be closing an old connection just now, and a question must not
            // be asked twice.
            // ANCHOR: no_pool
            .pool_max_idle_per_host(0)
            // ANCHOR_END: no_pool
            .build()
            .map_err(|error| format!("cannot make requests: {error}"))?;
        Ok(Self { client, url, key, model, proxy: None })
    }
    // ANCHOR_END: client

    pub fn host(&self) -> String {
        let port = self.url.port_or_known_default().unwrap_or_default();
        format!("{}:{port}", self.url.host_str().unwrap_or_default())
    }

    /// Where requests go on their way, for a reason that must blame the right one.
    fn via(&self) -> String {
        let via = |proxy| format!(" (through the proxy at {proxy})");
        self.proxy.as_ref().map(via).unwrap_or_default()
    }

    /// Asks the model, and hands each token on. Returns how the answer ended and what it
    /// cost, or a reason that a person understands.
    pub async fn ask(
        &self,
        prompt: &str,
        on_token: impl Fn(&str) -> Result<(), String>,
    ) -> Result<Value, String> {
        match self.read(prompt, on_token).await {
            Ok(mut done) => {
                let reason = done["finish_reason"].as_str().unwrap_or_default();
                done["finish_reason"] = self.redact(reason).into();
                Ok(done)
            }
            Err(reason) => Err(self.redact(&reason)),
        }
    }

    // ANCHOR: read
    async fn read(
        &self,
        prompt: &str,
        on_token: impl Fn(&str) -> Result<(), String>,
    ) -> Result<Value, String> {
        let mut response = self.open(prompt).await?;
        let mut parser = Parser::new(MAX_EVENT, String::new());
        let mut heard = Heard::default();
        let mut beside = Beside::default();
        let seen = loop {
            let bytes = match response.chunk().await {
                Ok(Some(bytes)) => bytes,
                end => break end.err().map(|error| self.explain(error)),
            };
            for line in bytes.split_inclusive(|byte| b"\r\n".contains(byte)) {
                let mut events = parser.feed(line);
                while let Some(event) = events.next().map_err(too_large)? {
                    if heard.event(&event, &on_token)? {
                        return heard.done(&beside.text);
                    }
                }
                beside.take(line)?;
            }
        };
        beside.end_line()?;
        // An event without its empty line is none, but it may hold the reason.
        let mut events = parser.feed(b"\n\n");
        let last = events.next().map_err(too_large)?;
        let last = last.map(|event| event.data).unwrap_or_default();
        Err(heard.broken(&beside.text, &last, seen))
    }
    // ANCHOR_END: read

    // ANCHOR: open
    /// Sends the question, and returns the response if it is a stream.
    async fn open(&self, prompt: &str) -> Result<Response, String> {
        let mut request = self.client.post(self.url.clone()).json(&json!({
            "model": self.model,
            "messages": [{ "role": "user", "content": prompt }],
            "stream": true,
            "stream_options": { "include_usage": true },
        }));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        // Without this word, some proxies compress, and hold tokens back while they do.
        // ANCHOR: identity
        let request = request.header(header::ACCEPT_ENCODING, "identity");
        // ANCHOR_END: identity
        let response = request.send().await.map_err(|error| self.explain(error))?;
        let kind = essence(response.headers());
        let coding = coding(response.headers());
        if response.status().is_success() && kind == EVENT_STREAM && coding.is_none()
        {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let said = match coding {
            Some(coding) => {
                format!("it has content-encoding: {coding}, which nobody asked for")
            }
            None => self.said(response, &kind).await,
        };
        let via = self.via();
        Err(format!(
            "the model server{via} answered {status} without a stream: {said}"
        ))
    }
    // ANCHOR_END: open

    // ANCHOR: explain
    /// Explains, in words for a person, an error on the way to the model server.
    fn explain(&self, error: reqwest::Error) -> String {
        let server = format!("the model server at {}{}", self.host(), self.via());
        if error.is_timeout() && error.is_connect() {
            return format!("{server} accepted no connection for {CONNECT:?}");
        }
        if error.is_timeout() {
            return format!(
                "the model server{} said nothing for {IDLE:?}",
                self.via()
            );
        }
        let what = if error.is_connect() {
            format!("cannot reach {server}")
        } else {
            format!("the connection to the model server{} broke off", self.via())
        };
        format!("{what}: {}", cause(error))
    }
    // ANCHOR_END: explain

    /// Quotes a response that is not a stream.
    async fn said(&self, mut response: Response, kind: &str) -> String {
        if let Some(to) = response.headers().get(header::LOCATION) {
            let to = String::from_utf8_lossy(to.as_bytes());
            return format!("it leads to {to}. Is OPENAI_BASE_URL right?");
        }
        let is_success = response.status().is_success();
        let mut body = Vec::new();
        let reading = async {
            while body.len() < MAX_EVENT {
                match response.chunk().await {
                    Ok(Some(bytes)) => body.extend_from_slice(&bytes),
                    Ok(None) => return None,
                    Err(error) => {
                        return Some(format!("it broke off: {}", cause(error)));
                    }
                }
            }
            None
        };
        let patience = if is_success { GLANCE } else { ERROR };
        let late = |_| Some(format!("the rest did not come within {patience:?}"));
        let broken = timeout(patience, reading).await.unwrap_or_else(late);
        let said = quote(&String::from_utf8_lossy(&body));
        let kind = is_success.then(|| format!("its type is `{kind}`"));
        let parts = [Some(said).filter(|said| !said.is_empty()), kind, broken];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    // ANCHOR: redact
    /// Shortens a text to what may be shown, and takes the key out of it.
    fn redact(&self, text: &str) -> String {
        // ANCHOR: key
        let text = match &self.key {
            Some(key) => text.replace(key, "[key]"),
            None => text.into(),
        };
        // ANCHOR_END: key
        text.chars().take(MAX_REASON).collect()
    }
    // ANCHOR_END: redact
}

fn too_large(_: TooLarge) -> String {
    format!("an event has more than {MAX_EVENT} bytes")
}

fn cause(error: reqwest::Error) -> String {
    let mut cause: &dyn Error = &error.without_url();
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// The proxy to which the client will send requests for this address, without its password.
fn proxy(url: &Url) -> Option<String> {
    let uri = url.as_str().parse::<Uri>().ok()?;
    let proxy = Matcher::from_system().intercept(&uri)?;
    let port = proxy.uri().port().map(|port| format!(":{port}")).unwrap_or_default();
    let place = format!("{}{port}", proxy.uri().host()?);
    let scheme = url.scheme();
    let names = [format!("{scheme}_proxy"), "all_proxy".into()];
    let names = names.iter().flat_map(|name| [name.to_uppercase(), name.clone()]);
    let is_set =
        |name: &String| env::var(name).is_ok_and(|value| value.contains(&place));
    let by = names.into_iter().find(is_set);
    Some(by.map_or(place.clone(), |name| format!("{place}, which {name} names")))
}

const EVENT_STREAM: &str = "text/event-stream";

/// The content type, without its parameters. Of several, the last one that is valid counts,
/// as it does for browsers (Fetch, "extract a MIME type").
fn essence(headers: &HeaderMap) -> String {
    let values = headers.get_all(header::CONTENT_TYPE).iter();
    let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let mut essence = String::new();
    for value in values {
        let mut is_quoted = false;
        for kind in value.split(|c| {
            is_quoted ^= c == '"';
            c == ',' && !is_quoted
        }) {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            // A name of a header is a token, as both halves of a type have to be.
            let is_token = |half: &str| HeaderName::try_from(half).is_ok();
            let halves = kind.split_once('/').filter(|_| kind != "*/*");
            if halves.is_some_and(|(a, b)| is_token(a) && is_token(b)) {
                essence = kind.to_ascii_lowercase();
            }
        }
    }
    essence
}

/// How the body is encoded, if it is.
fn coding(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let codings = values.collect::<Vec<_>>().join(", ");
    let mut each = codings.split(',').map(str::trim);
    let is_plain =
        |one: &str| one.is_empty() || one.eq_ignore_ascii_case("identity");
    (!each.all(is_plain)).then_some(codings)
}
