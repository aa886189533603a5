//! A token for EventSource, which sends no header of yours: it travels as a cookie.
//!
//!     TOKEN=secret cargo run --example cure_cookie
//!     curl -c jar http://127.0.0.1:8698/ -X POST -H 'Authorization: Bearer secret'
//!     curl -b jar -N http://127.0.0.1:8698/

use std::{convert::Infallible, env};

use salvo::http::header::{AUTHORIZATION, COOKIE, HeaderValue, SET_COOKIE};
use salvo::prelude::*;
use tokio_stream::{StreamExt, once, pending};

#[tokio::main]
async fn main() -> salvo::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let acceptor = TcpListener::new(addr).try_bind().await?;
    println!("listening on http://{}", acceptor.local_addr()?);
    let router = Router::new().get(listen).post(enter);
    Ok(Server::new(acceptor).try_serve(router).await?)
}

/// Stands for your own check of a token. Without the variable, none is right.
fn is_right(token: &str) -> bool {
    env::var("TOKEN").is_ok_and(|right| token == right)
}

type Reply<T> = Result<T, StatusError>;

/// A page asks for this with `fetch` before it makes its EventSource.
#[handler]
async fn enter(req: &Request, res: &mut Response) -> Reply<StatusCode> {
    let header: String = req.header(AUTHORIZATION).unwrap_or_default();
    let token = header.strip_prefix("Bearer ").filter(|token| is_right(token));
    let token = token.ok_or_else(StatusError::unauthorized)?;
    // No script reads it, and no page of another site sends it. Over TLS: `Secure`, too.
    let cookie = format!("token={token}; Path=/; HttpOnly; SameSite=Strict");
    let set =
        HeaderValue::try_from(cookie).map_err(|_| StatusError::bad_request())?;
    res.headers_mut().insert(SET_COOKIE, set);
    Ok(StatusCode::NO_CONTENT)
}

#[handler]
async fn listen(req: &Request, res: &mut Response) -> Reply<()> {
    let cookies: String = req.header(COOKIE).unwrap_or_default();
    let mut tokens =
        cookies.split("; ").filter_map(|one| one.strip_prefix("token="));
    if !tokens.any(is_right) {
        return Err(StatusError::unauthorized());
    }
    let welcome = once(Ok::<_, Infallible>(SseEvent::default().text("welcome")));
    res.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    SseKeepAlive::new(welcome.chain(pending())).stream(res);
    Ok(())
}
