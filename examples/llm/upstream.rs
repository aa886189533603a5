//! The client of the model server: it speaks OpenAI's protocol, and hands each token on as
//! it arrives.

use std::time::Duration;
use std::{env, error::Error, io};

use reqwest::{Client, ClientBuilder, Response, Url, redirect};
use salvo::conn::tcp::TcpAcceptor;
use salvo::http::{HeaderValue, header};
use salvo::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::model;
use super::parser::{Parser, TooLarge};

// ANCHOR: bounds
/// How long the model server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the model server may be silent. The whole answer has no limit: a long one is no
/// fault.
const IDLE: Duration = Duration::from_secs(60);
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
        Self::new(Client::builder(), &base, get("OPENAI_API_KEY"), model).map(Some)
    }

    /// Starts the stand-in on a free port.
    pub async fn stand_in(stop: CancellationToken) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}/v1", listener.local_addr()?);
        let server = Server::new(TcpAcceptor::try_from(listener)?);
        tokio::spawn(server.serve(model::router(stop)));
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
            .connect_timeout(CONNECT)
            .read_timeout(IDLE)
            .redirect(redirect::Policy::none()) // the key is for nobody else
            .build()
            .map_err(|error| format!("cannot make requests: {error}"))?;
        Ok(Self { client, url, key, model })
    }
    // ANCHOR_END: client

    pub fn host(&self) -> String {
        let port = self.url.port_or_known_default().unwrap_or_default();
        format!("{}:{port}", self.url.host_str().unwrap_or_default())
    }

    /// Asks the model, and hands each token on. Returns how the answer ended and what it
    /// cost, or a reason that a person understands.
    pub async fn ask(
        &self,
        prompt: &str,
        on_token: impl Fn(&str) -> Result<(), String>,
    ) -> Result<Value, String> {
        self.read(prompt, on_token).await.map_err(|reason| self.redact(&reason))
    }

    // ANCHOR: read
    async fn read(
        &self,
        prompt: &str,
        on_token: impl Fn(&str) -> Result<(), String>,
    ) -> Result<Value, String> {
        let mut response = self.open(prompt).await?;
        let mut parser = Parser::new(MAX_EVENT, String::new());
        let mut reason = None::<String>;
        let mut usage = None;
        let mut is_silent = true;
        while let Some(bytes) =
            response.chunk().await.map_err(|error| self.explain(error))?
        {
            let mut events = parser.feed(&bytes);
            while let Some(event) = events.next().map_err(too_large)? {
                is_silent = false;
                if event.data == "[DONE]" {
                    // Without a reason, something else has ended the answer.
                    let reason = self.redact(&reason.ok_or(BROKEN)?);
                    return Ok(json!({ "finish_reason": reason, "usage": usage }));
                }
                let chunk = Chunk::parse(&event.data)?;
                usage = chunk.usage.or(usage);
                let choices = chunk.choices.into_iter().flatten();
                for choice in choices.filter(|one| one.index.unwrap_or(0) == 0) {
                    reason = choice.finish_reason.or(reason);
                    let text =
                        choice.delta.and_then(Delta::text).unwrap_or_default();
                    if !text.is_empty() {
                        on_token(&text)?;
                    }
                }
            }
        }
        Err(if is_silent { NOTHING } else { BROKEN }.into())
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
        let response = request.send().await.map_err(|error| self.explain(error))?;
        let kind = response.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.to_ascii_lowercase();
        if response.status().is_success() && kind.starts_with("text/event-stream") {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let said = match kind.starts_with("text/html") {
            true => "a page of HTML. Is OPENAI_BASE_URL right?".into(),
            false => self.message(response).await?,
        };
        Err(format!("the model server answered {status} without a stream: {said}"))
    }
    // ANCHOR_END: open

    // ANCHOR: explain
    /// Explains, in words for a person, an error on the way to the model server.
    fn explain(&self, error: reqwest::Error) -> String {
        let host = self.host();
        if error.is_timeout() && error.is_connect() {
            return format!(
                "the model server at {host} accepted no connection for {CONNECT:?}"
            );
        }
        if error.is_timeout() {
            return format!("the model server said nothing for {IDLE:?}");
        }
        let what = if error.is_connect() {
            format!("cannot reach the model server at {host}")
        } else {
            "the connection to the model server broke off".into()
        };
        let mut cause: &dyn Error = &error.without_url();
        while let Some(source) = cause.source() {
            cause = source;
        }
        format!("{what}: {cause}")
    }

    /// Reads the message in a response that is no stream.
    async fn message(&self, mut response: Response) -> Result<String, String> {
        let mut body = Vec::new();
        while body.len() < MAX_EVENT {
            match response.chunk().await.map_err(|error| self.explain(error))? {
                Some(bytes) => body.extend_from_slice(&bytes),
                None => break,
            }
        }
        let text = || Value::String(String::from_utf8_lossy(&body).trim().into());
        Ok(said(&serde_json::from_slice(&body).unwrap_or_else(|_| text())))
    }

    /// Shortens a text to what may be shown, and takes the key out of it.
    fn redact(&self, text: &str) -> String {
        let text = match &self.key {
            Some(key) => text.replace(key, "[key]"),
            None => text.into(),
        };
        text.chars().take(MAX_REASON).collect()
    }
    // ANCHOR_END: explain
}

/// Finds the words of an error in the places where model servers put them.
fn said(error: &Value) -> String {
    let places = ["/error/message", "/error", "/message", "/detail", ""];
    let text = places.iter().find_map(|place| error.pointer(place)?.as_str());
    text.map_or_else(|| error.to_string(), str::to_string)
}

const NOTHING: &str = "the model server ended its answer before the first token; some do \
    that when the prompt is too long";
const BROKEN: &str =
    "the answer broke off: the model server did not say that it is over";

fn too_large(_: TooLarge) -> String {
    format!("an event has more than {MAX_EVENT} bytes")
}

// ANCHOR: chunk
/// The parts of an event that are read. Each of them may be missing or null.
#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
    usage: Option<Usage>,
    error: Option<Value>,
    message: Option<Value>,
}

#[derive(Deserialize, Serialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Choice {
    index: Option<u64>,
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
    refusal: Option<String>,
}

impl Chunk {
    fn parse(data: &str) -> Result<Self, String> {
        let chunk: Self = serde_json::from_str(data)
            .map_err(|error| format!("the model server sent no chunk: {error}"))?;
        match chunk.error.as_ref().or(chunk.message.as_ref()) {
            Some(error) => Err(format!("the model server gave up: {}", said(error))),
            None => Ok(chunk),
        }
    }
}

impl Delta {
    fn text(self) -> Option<String> {
        self.content.or(self.refusal)
    }
}
// ANCHOR_END: chunk
