//! A server that listens, and hangs up. Write the rest.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    if let Err(error) = serve(&addr) {
        eprintln!("cannot listen on {addr}: {error}; try ADDR=127.0.0.1:0");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn serve(addr: &str) -> io::Result<()> {
    let listener = TcpListener::bind(addr)?;
    println!("listening on http://{}", listener.local_addr()?);
    for stream in listener.incoming() {
        if let Err(error) = answer(stream?) {
            eprintln!("a reader left: {error}");
        }
    }
    Ok(())
}

/// Reads a request, whose head ends with an empty line, and answers it.
fn answer(_stream: TcpStream) -> io::Result<()> {
    Ok(())
}
