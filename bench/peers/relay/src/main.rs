//! The least that a relay on llm's stack can do: it asks the model server, and hands its
//! bytes on as they arrive. Nothing is parsed, kept, bounded or timed.

use std::{env, error::Error};

use reqwest::Client;
use salvo::conn::tcp::TcpAcceptor;
use salvo::http::{HeaderValue, header};
use salvo::prelude::*;
use serde_json::json;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let relay = Relay {
        client: Client::new(),
        url: format!("{}/chat/completions", env::var("OPENAI_BASE_URL")?),
        model: env::var("OPENAI_MODEL")?,
    };
    let listener = TcpListener::bind(addr).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let router = Router::with_path("relay").get(relay);
    Server::new(TcpAcceptor::try_from(listener)?).serve(router).await;
    Ok(())
}

struct Relay {
    client: Client,
    url: String,
    model: String,
}

#[handler]
impl Relay {
    async fn handle(
        &self,
        req: &Request,
        res: &mut Response,
    ) -> Result<(), StatusError> {
        let question = self.client.post(&self.url).json(&json!({
            "model": self.model,
            "messages": [{ "role": "user", "content": req.query::<String>("prompt") }],
            "stream": true,
            "stream_options": { "include_usage": true },
        }));
        let answer =
            question.send().await.and_then(|answer| answer.error_for_status());
        let answer = answer.map_err(|e| StatusError::bad_gateway().cause(e))?;
        let events = HeaderValue::from_static("text/event-stream");
        res.headers_mut().insert(header::CONTENT_TYPE, events);
        res.stream(answer.bytes_stream());
        Ok(())
    }
}
