//! Cuts the bytes of a response into the blocks of a stream of events.

use std::mem::take;
use std::ops::Range;

use anyhow::{Result, bail};
use memchr::memchr;

/// The fields of one block. Where a field stands twice, this is the last one: no server
/// here sends that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block<'a> {
    pub event: &'a [u8],
    pub data: &'a [u8],
    pub id: &'a [u8],
}

/// Takes the bytes of a response as they are: lines of the head and of the chunked encoding
/// are no fields of an event, and so fall through. No server here begins a chunk within a
/// line, or ends a line of an event with CR. A block that is split over two reads waits in
/// the buffer for its empty line.
#[derive(Default)]
pub struct Scanner {
    buf: Vec<u8>,
    /// Where the block begins that has not been handed out yet.
    start: usize,
    /// How many bytes of this block have been looked at, and where its fields are.
    looked: usize,
    event: Range<usize>,
    data: Range<usize>,
    id: Range<usize>,
}

impl Scanner {
    /// The buffer for the next bytes, with room for this many.
    pub fn room(&mut self, bytes: usize) -> &mut Vec<u8> {
        self.buf.drain(..take(&mut self.start));
        self.buf.reserve(bytes);
        &mut self.buf
    }

    /// The next block of what was read. A response that is not 200 is an error.
    pub fn next(&mut self) -> Result<Option<Block<'_>>> {
        while let Some(length) = memchr(b'\n', &self.buf[self.start + self.looked..])
        {
            let from = self.looked;
            let end = from + length;
            let line = &self.buf[self.start..][from..end];
            self.looked = end + 1;
            match line {
                [] => return Ok(Some(self.hand_out())),
                [b'd', b'a', b't', b'a', b':', value @ ..] => {
                    self.data = end - length_of(value)..end;
                }
                [b'i', b'd', b':', value @ ..] => {
                    self.id = end - length_of(value)..end;
                }
                [b'e', b'v', b'e', b'n', b't', b':', value @ ..] => {
                    self.event = end - length_of(value)..end;
                }
                _ if line.starts_with(b"HTTP/1.1 ")
                    && !line.starts_with(b"HTTP/1.1 200") =>
                {
                    let status = String::from_utf8_lossy(line);
                    bail!("the server answered {}", status.trim());
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn hand_out(&mut self) -> Block<'_> {
        let block = self.start..self.start + take(&mut self.looked);
        self.start = block.end;
        let bytes = &self.buf[block];
        Block {
            event: &bytes[take(&mut self.event)],
            data: &bytes[take(&mut self.data)],
            id: &bytes[take(&mut self.id)],
        }
    }
}

/// The length of a value without the space that may stand before it.
fn length_of(value: &[u8]) -> usize {
    value.strip_prefix(b" ").unwrap_or(value).len()
}

/// A number in decimal digits, and nothing else.
pub fn digits(text: &[u8]) -> Option<u64> {
    str::from_utf8(text).ok()?.parse().ok()
}

/// The two numbers on both sides of this character.
pub fn pair(text: &[u8], between: u8) -> Option<(u64, u64)> {
    let at = memchr(between, text)?;
    Some((digits(&text[..at])?, digits(&text[at + 1..])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The event, data and ID of each block when the response arrives in these parts.
    fn scan(parts: &[&[u8]]) -> Result<Vec<[String; 3]>> {
        let mut scanner = Scanner::default();
        let mut blocks = Vec::new();
        for part in parts {
            scanner.room(part.len()).extend(*part);
            while let Some(Block { event, data, id }) = scanner.next()? {
                let text = |field| String::from_utf8_lossy(field).into_owned();
                blocks.push([event, data, id].map(text));
            }
        }
        Ok(blocks)
    }

    #[test]
    fn every_block_is_found_once_wherever_a_response_is_split() {
        let response =
            b"HTTP/1.1 200 OK\r\ndate: today\r\ntransfer-encoding: chunked\r\n\r\n\
            2c\r\nretry: 1000\ndata: 7f\nid: a-1\nevent: user\n\n\r\n\
            3\r\n:\n\n\r\n\
            20\r\nevent: joined\ndata: 9\n\n\r\n\
            25\r\nid:a-2\ndata: <User#9>: load-message-12 and\n\n\r\n\
            25\r\ndata:<User#9>: load-message-3\nid: a-3\n\n\r\n\
            9\r\ndata: end\n\r\n1\r\n\n\r\n0\r\n\r\n";
        for split in 0..=response.len() {
            let (first, second) = response.split_at(split);
            assert_eq!(
                scan(&[first, second]).unwrap(),
                [
                    ["user", "7f", "a-1"],
                    ["", "", ""],
                    ["joined", "9", ""],
                    ["", "<User#9>: load-message-12 and", "a-2"],
                    ["", "<User#9>: load-message-3", "a-3"],
                    ["", "end", ""],
                ],
                "split at {split}"
            );
        }
        let bytes: Vec<_> = response.chunks(1).collect();
        assert_eq!(scan(&bytes).unwrap().len(), 6);
    }

    #[test]
    fn a_block_is_handed_out_at_the_byte_that_ends_it() {
        let first = b"HTTP/1.1 200 OK\r\n\r\n24\r\nretry: 1000\nid: 7-9\n\n";
        let mut scanner = Scanner::default();
        for (at, byte) in first.iter().enumerate() {
            assert_eq!(scanner.next().unwrap(), None, "before byte {at}");
            scanner.room(1).push(*byte);
        }
        let block = Block { id: b"7-9", ..Block::default() };
        assert_eq!(scanner.next().unwrap(), Some(block));
        assert_eq!(scanner.next().unwrap(), None);
    }

    #[test]
    fn another_status_than_200_is_an_error() {
        let error =
            scan(&[b"HTTP/1.1 503 Service Unavailable\r\n\r\n"]).unwrap_err();
        let text = "the server answered HTTP/1.1 503 Service Unavailable";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn a_number_is_digits_alone() {
        assert_eq!(digits(b"120"), Some(120));
        for wrong in ["", "12x", " 12", "-1"] {
            assert_eq!(digits(wrong.as_bytes()), None, "{wrong:?}");
        }
        assert_eq!(pair(b"17-4", b'-'), Some((17, 4)));
        assert_eq!(pair(b"17", b'-'), None);
        assert_eq!(pair(b"17-", b'-'), None);
    }
}
