//! As much HTTP/1.1 as the model server, the readers and the writers need.

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// Of a request or a response.
#[derive(Debug)]
pub struct Head {
    /// The request line, or the status line.
    pub start: String,
    fields: Vec<(String, String)>,
}

impl Head {
    /// `None` if the other side has closed the connection before.
    pub async fn read(
        stream: &mut (impl AsyncBufRead + Unpin),
    ) -> Result<Option<Self>> {
        let Some(start) = line(stream).await? else { return Ok(None) };
        let mut head = Self { start, fields: Vec::new() };
        loop {
            let line = line(stream).await?.context("a head without an end")?;
            match line.split_once(':') {
                Some((name, value)) => {
                    head.fields.push((name.to_string(), value.trim().to_string()));
                }
                None => return Ok(Some(head)),
            }
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }

    /// Reads a body that has a length. A stream of events has none.
    pub async fn body(
        &self,
        stream: &mut (impl AsyncBufRead + Unpin),
    ) -> Result<Vec<u8>> {
        let length = self.get("content-length").unwrap_or("0");
        let mut body = vec![0; length.parse().context("content-length")?];
        stream.read_exact(&mut body).await?;
        Ok(body)
    }
}

/// The next piece of a body that is sent in chunks; `None` at its end.
pub async fn chunk(
    stream: &mut (impl AsyncBufRead + Unpin),
) -> Result<Option<Vec<u8>>> {
    let size = line(stream).await?.context("the connection broke off")?;
    let size = usize::from_str_radix(&size, 16)
        .with_context(|| format!("{size:?} is not the size of a chunk"))?;
    let mut data = vec![0; size];
    stream.read_exact(&mut data).await?;
    let end = line(stream).await?;
    ensure!(end.as_deref() == Some(""), "a chunk of {size} bytes has more");
    Ok((size > 0).then_some(data))
}

async fn line(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<String>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    ensure!(line.ends_with('\n'), "a line broke off: {line:?}");
    line.truncate(line.trim_end().len());
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_head_ends_at_its_empty_line_and_a_body_at_its_length() {
        let mut stream: &[u8] =
            b"HTTP/1.1 201 Created\r\nLocation: answers/7\r\nContent-Length: 2\r\n\r\n{}2\r\nab\r\n0\r\n\r\n";
        let head = Head::read(&mut stream).await.unwrap().unwrap();
        assert_eq!(head.start, "HTTP/1.1 201 Created");
        assert_eq!(head.get("location"), Some("answers/7"));
        assert_eq!(head.body(&mut stream).await.unwrap(), b"{}");
        assert_eq!(chunk(&mut stream).await.unwrap().unwrap(), b"ab");
        assert_eq!(chunk(&mut stream).await.unwrap(), None);
        assert!(Head::read(&mut stream).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_breaks_off_is_an_error() {
        assert!(Head::read(&mut b"HTTP/1.1 200 OK\r\n".as_slice()).await.is_err());
        for broken in ["", "5", "5\r\nab", "1\r\nab\r\n", "x\r\n", "0\r\n"] {
            assert!(chunk(&mut broken.as_bytes()).await.is_err(), "{broken:?}");
        }
    }
}
