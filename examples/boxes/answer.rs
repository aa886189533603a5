//! An answer as its bytes come: which events are whole with each piece, and how it ends.

use std::io::{self, Write};

use flate2::write::GzDecoder;

/// The most bytes of a head, and of an event.
const MAX_HELD: usize = 1 << 16;

/// An answer of HTTP/1.1 that is being read.
#[derive(Default)]
pub struct Answer {
    held: Vec<u8>,
    body: Option<Body>,
    /// There if the body is compressed.
    decoder: Option<GzDecoder<Vec<u8>>>,
    text: Vec<u8>,
}

enum Body {
    /// Pieces with their length, the last of which is empty.
    Chunks(Chunk),
    /// So many bytes are still to come.
    Length(u64),
    /// All until the connection is closed. Nobody can say whether that was the end.
    Close,
    Over,
}

enum Chunk {
    Size,
    Data(u64),
    End,
}

/// Something that a piece made whole.
#[derive(Debug, PartialEq)]
pub enum Part {
    Head(String),
    /// The number in an event.
    Event(u64),
    /// The event `end`, which says that no other one follows.
    Last,
}

impl Answer {
    /// Reads on.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<Part>, String> {
        self.held.extend_from_slice(bytes);
        let mut parts = Vec::new();
        if self.body.is_none() {
            let Some(head) = self.head()? else { return Ok(parts) };
            parts.push(Part::Head(head));
        }
        while self.take_body()? {}
        while let Some(end) = find(&self.text, b"\n\n") {
            let block: Vec<u8> = self.text.drain(..end + 2).collect();
            parts.extend(part(&String::from_utf8_lossy(&block)));
        }
        let is_much = self.held.len().max(self.text.len()) > MAX_HELD;
        if is_much { Err("too long".into()) } else { Ok(parts) }
    }

    /// Whether all of the body has come.
    pub fn is_over(&self) -> bool {
        matches!(self.body, Some(Body::Over | Body::Length(0)))
    }

    /// Whether the end of the connection is the only end that this answer has.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self.body, Some(Body::Close))
    }

    fn head(&mut self) -> Result<Option<String>, String> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&self.held).map_err(|why| why.to_string())?;
        let httparse::Status::Complete(length) = parsed else { return Ok(None) };
        let value = |name: &str| {
            let header = response
                .headers
                .iter()
                .find(|one| one.name.eq_ignore_ascii_case(name));
            header.and_then(|one| str::from_utf8(one.value).ok())
        };
        if value("content-encoding") == Some("gzip") {
            self.decoder = Some(GzDecoder::new(Vec::new()));
        }
        let length_of_body = value("content-length").and_then(|it| it.parse().ok());
        self.body = Some(match (value("transfer-encoding"), length_of_body) {
            (Some(_), _) => Body::Chunks(Chunk::Size),
            (None, Some(length)) => Body::Length(length),
            (None, None) => Body::Close,
        });
        let head: Vec<u8> = self.held.drain(..length).collect();
        Ok(Some(String::from_utf8_lossy(&head).trim_end().into()))
    }

    /// Moves bytes of the body from what is held to the text. Returns whether it did.
    fn take_body(&mut self) -> Result<bool, String> {
        let held = self.held.len() as u64;
        let (data, left) = match &mut self.body {
            // The length of a chunk has a digit. h2o writes an empty line when it gives up.
            Some(Body::Chunks(Chunk::Size))
                if self.held.first().is_some_and(|one| !one.is_ascii_hexdigit()) =>
            {
                return Err("a chunk without a length".into());
            }
            Some(Body::Chunks(Chunk::Size)) => {
                let size = httparse::parse_chunk_size(&self.held);
                let size = size.map_err(|_| "no length of a chunk".to_string())?;
                let httparse::Status::Complete((head, size)) = size else {
                    return Ok(false);
                };
                self.held.drain(..head);
                self.body = Some(match size {
                    0 => Body::Over,
                    size => Body::Chunks(Chunk::Data(size)),
                });
                return Ok(true);
            }
            Some(Body::Chunks(Chunk::End)) if held >= 2 => {
                self.held.drain(..2);
                self.body = Some(Body::Chunks(Chunk::Size));
                return Ok(true);
            }
            Some(Body::Chunks(Chunk::Data(left)) | Body::Length(left)) => {
                let data = held.min(*left);
                *left -= data;
                (data, *left)
            }
            Some(Body::Close) => (held, held),
            Some(Body::Chunks(Chunk::End) | Body::Over) | None => return Ok(false),
        };
        let data = self.held.drain(..data as usize);
        match &mut self.decoder {
            None => self.text.extend(data),
            Some(decoder) => {
                let text = |why: io::Error| why.to_string();
                decoder.write_all(data.as_slice()).map_err(text)?;
                decoder.flush().map_err(text)?; // all that these bytes tell
                self.text.append(decoder.get_mut());
            }
        }
        if left == 0 && matches!(self.body, Some(Body::Chunks(_))) {
            self.body = Some(Body::Chunks(Chunk::End));
            return Ok(true);
        }
        Ok(false)
    }
}

/// The meaning of a block: comments have none here.
fn part(block: &str) -> Option<Part> {
    if block.lines().any(|line| line == "event: end" || line == "event:end") {
        return Some(Part::Last);
    }
    let data = block.lines().find_map(|line| line.strip_prefix("data:"))?;
    data.split_whitespace().next()?.parse().ok().map(Part::Event)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
