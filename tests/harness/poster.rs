//! Many requests on one connection.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::program::Program;
use crate::wait::within;

/// Posts texts one after the other, without waiting for each answer.
pub struct Poster {
    socket: TcpStream,
    path: String,
}

impl Program {
    /// A connection for many requests to one path.
    pub async fn poster(&self, path: &str) -> Poster {
        Poster { socket: self.socket().await, path: path.into() }
    }
}

impl Poster {
    /// Posts a text so many times, and waits until each has been accepted.
    pub async fn post(&mut self, text: &str, times: usize) {
        let path = &self.path;
        let length = text.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}"
        );
        let requests = format!("{head}\r\n\r\n{text}").repeat(times);
        let (mut from, mut to) = self.socket.split();
        let answers = async {
            let mut answers = String::new();
            while answers.matches("\r\n\r\n").count() < times {
                let mut buffer = [0; 16_384];
                let count = from.read(&mut buffer).await.unwrap();
                assert!(count > 0, "the server closed: {answers}");
                answers += str::from_utf8(&buffer[..count]).unwrap();
            }
            assert_eq!(answers.matches("HTTP/1.1 2").count(), times, "{answers}");
        };
        let all = async { tokio::join!(to.write_all(requests.as_bytes()), answers) };
        within("all answers", all).await.0.unwrap();
    }
}
