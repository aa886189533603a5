//! HTTP's chunked transfer coding, in both directions.

use std::convert::Infallible;

use reqwest::Body;

/// A body that is sent in chunks, so that its length is not known before its end.
pub fn chunks(bytes: &[u8]) -> Body {
    let chunks: Vec<_> =
        bytes.chunks(1_500).map(|part| Ok::<_, Infallible>(part.to_vec())).collect();
    Body::wrap_stream(futures_util::stream::iter(chunks))
}

/// Takes the payload out of a chunked body, whose bytes may come in pieces.
#[derive(Default)]
pub struct Dechunker {
    /// The line that gives the size of the next chunk, as far as it has come.
    size: Vec<u8>,
    /// Bytes of the current chunk that are still to come, with the line end behind it.
    left: usize,
}

impl Dechunker {
    /// The payload in the next bytes of the body.
    pub fn read(&mut self, wire: &[u8]) -> Vec<u8> {
        let mut payload = Vec::new();
        for &byte in wire {
            match self.left {
                0 => self.size.push(byte),
                1 | 2 => self.left -= 1,
                _ => {
                    self.left -= 1;
                    payload.push(byte);
                }
            }
            if let Some(size) = self.size.strip_suffix(b"\r\n") {
                let size = str::from_utf8(size).unwrap();
                self.left = usize::from_str_radix(size, 16).unwrap() + 2;
                self.size.clear();
            }
        }
        payload
    }

    /// The payload of a body, or of its beginning.
    pub fn payload(wire: &[u8]) -> Vec<u8> {
        Self::default().read(wire)
    }
}
