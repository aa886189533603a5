//! The smallest room: whatever is posted reaches everybody who listens.
//!
//!     cargo run
//!     curl -N http://127.0.0.1:8698/
//!     curl -d hello http://127.0.0.1:8698/

use std::env;

use salvo::prelude::*;

#[tokio::main]
async fn main() -> salvo::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let acceptor = TcpListener::new(addr).try_bind().await?;
    println!("listening on http://{}", acceptor.local_addr()?);
    Ok(Server::new(acceptor).try_serve(Router::new().get(listen).post(say)).await?)
}

#[handler]
async fn listen() -> StatusCode {
    StatusCode::NOT_IMPLEMENTED
}

#[handler]
async fn say() -> StatusCode {
    StatusCode::NOT_IMPLEMENTED
}
