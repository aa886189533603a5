//! A router that a test writes for an experiment, served in the test's own process.

use std::net::TcpListener;

use salvo::conn::tcp::TcpAcceptor;
use salvo::serve_static::StaticDir;
use salvo::{Router, Server};

use crate::binaries::root;

/// Serves an experiment on a port of its own, and returns its URL.
pub async fn serve(router: Router) -> String {
    serve_at("127.0.0.1", router).await
}

/// Serves an experiment at this address of the machine.
pub async fn serve_at(address: &str, router: Router) -> String {
    serve_on(TcpListener::bind((address, 0)).unwrap(), router)
}

/// Serves an experiment on a port that is open already.
pub fn serve_on(listener: TcpListener, router: Router) -> String {
    let url = format!("http://{}", listener.local_addr().unwrap());
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let server = Server::new(TcpAcceptor::try_from(listener).unwrap());
    tokio::spawn(server.serve(router));
    url
}

/// The page of a program and the files that it loads, without the program behind them.
pub fn page_of(program: &str) -> Router {
    let folder = root().join("examples").join(program);
    let files = StaticDir::new(folder).defaults("index.html");
    Router::with_path("{**path}").get(files)
}
