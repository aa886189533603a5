//! One log for all servers, in Redis: a reader misses nothing, whichever server it asks.
//!
//!     redis-server --save ""
//!     cargo run --example cure_log
//!     ADDR=127.0.0.1:8697 cargo run --example cure_log
//!     curl -N http://127.0.0.1:8697/
//!     curl -d hello http://127.0.0.1:8698/

use futures_util::stream::try_unfold;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};
use salvo::{Error, http::HeaderValue, prelude::*};

/// A stream of Redis, and its next event: the id, the name of a field, and its text.
type Found = [(String, [(String, (String, String)); 1]); 1];

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
async fn listen(res: &mut Response) -> salvo::Result<()> {
    let after = String::from("0");
    let from = (redis().await.map_err(Error::other)?, after);
    let events = try_unfold(from, async |(mut redis, after)| {
        let mut read = redis::cmd("XREAD");
        read.arg(&["COUNT", "1", "BLOCK", "0", "STREAMS", "log", &after]);
        let [(_, [(id, (_, text))])]: Found = read.query_async(&mut redis).await?;
        RedisResult::Ok(Some((SseEvent::default().id(&id).text(text), (redis, id))))
    });
    res.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    SseKeepAlive::new(events).stream(res);
    Ok(())
}

#[handler]
async fn say(req: &mut Request) -> salvo::Result<String> {
    let text = String::from_utf8_lossy(req.payload().await?);
    let mut add = redis::cmd("XADD");
    add.arg(&["log", "MAXLEN", "1000", "*", "data"]).arg(&*text);
    let mut redis = redis().await.map_err(Error::other)?;
    add.query_async(&mut redis).await.map_err(Error::other)
}
