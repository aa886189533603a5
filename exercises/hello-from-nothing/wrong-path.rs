//! A server that a learner might write.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use std::{env, process::ExitCode, thread};

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
        let stream = stream?;
        thread::spawn(move || {
            if let Err(error) = answer(stream) {
                eprintln!("a reader left: {error}");
            }
        });
    }
    Ok(())
}

/// Reads a request, whose head ends with an empty line, and answers it.
fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(&stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    if !request.starts_with("GET ") {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")?;
    for n in 1_u64.. {
        stream.write_all(format!("data: hello {n}\n\n").as_bytes())?;
        thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}
