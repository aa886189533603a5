//! One log for all servers, in Redis: a reader misses nothing, whichever server it asks.
//!
//!     redis-server --save ""
//!     cargo run
//!     ADDR=127.0.0.1:8697 cargo run
//!     curl -N http://127.0.0.1:8697/
//!     curl -d hello http://127.0.0.1:8698/

use futures_util::stream::pending;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};
use salvo::{Error, http::HeaderValue, prelude::*};

#[tokio::main]
async fn main() -> salvo::Result<()> {
    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let acceptor = TcpListener::new(addr).try_bind().await?;
    println!("listening on http://{}", acceptor.local_addr()?);
    Ok(Server::new(acceptor).try_serve(Router::new().get(listen).post(say)).await?)
}

async fn redis() -> RedisResult<MultiplexedConnection> {
    let url = std::env::var("REDIS_URL").unwrap_or("redis://127.0.0.1".into());
    // A read waits for the next event, however long that takes.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
}

#[handler]
async fn listen(res: &mut Response) {
    let events = pending::<RedisResult<SseEvent>>(); // none yet
    res.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    SseKeepAlive::new(events).stream(res);
}

#[handler]
async fn say(req: &mut Request) -> salvo::Result<String> {
    let _text = String::from_utf8_lossy(req.payload().await?);
    let mut redis = redis().await.map_err(Error::other)?;
    redis::cmd("PING").query_async(&mut redis).await.map_err(Error::other)
}
