//! A response that Salvo's `Compression` has compressed, without a connection around it.

use std::fs;
use std::io::Write;

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures_util::stream;
use http_body_util::BodyExt;
use salvo::compression::{Compression, CompressionLevel};
use salvo::http::body::ResBody;
use salvo::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use salvo::prelude::*;
use salvo::test::TestClient;

/// The recorded streams.
pub const STREAMS: [&str; 4] = ["chat", "rows", "chunks", "tokens"];

/// An encoder of Salvo's, with a level.
pub struct Encoder {
    pub name: &'static str,
    coding: &'static str,
    enable: fn(Compression) -> Compression,
}

/// The first one of each coding is what `Compression::new()` takes.
pub const ENCODERS: [Encoder; 7] = [
    Encoder {
        name: "gzip 1",
        coding: "gzip",
        enable: |none| none.enable_gzip(CompressionLevel::Default),
    },
    Encoder {
        name: "gzip 6",
        coding: "gzip",
        enable: |none| none.enable_gzip(CompressionLevel::Precise(6)),
    },
    Encoder {
        name: "br 0",
        coding: "br",
        enable: |none| none.enable_brotli(CompressionLevel::Default),
    },
    Encoder {
        name: "br 4",
        coding: "br",
        enable: |none| none.enable_brotli(CompressionLevel::Precise(4)),
    },
    Encoder {
        name: "zstd 1",
        coding: "zstd",
        enable: |none| none.enable_zstd(CompressionLevel::Default),
    },
    Encoder {
        name: "zstd 3",
        coding: "zstd",
        enable: |none| none.enable_zstd(CompressionLevel::Precise(3)),
    },
    Encoder { name: "none", coding: "identity", enable: |none| none },
];

/// The events of a recorded stream, each with its empty line.
pub fn events(stream: &str) -> Result<Vec<String>> {
    let file = record::root().join(format!("tests/recorded/streams/{stream}.sse"));
    let text = fs::read_to_string(&file);
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.split_inclusive("\n\n").map(str::to_string).collect())
}

/// Sends a recorded stream, event by event.
struct Sends(Vec<String>);

#[handler]
impl Sends {
    async fn handle(&self, res: &mut Response) {
        let kind = HeaderValue::from_static("text/event-stream");
        res.headers_mut().insert(CONTENT_TYPE, kind);
        let events = self.0.clone().into_iter().map(Ok::<_, std::io::Error>);
        res.stream(stream::iter(events));
    }
}

/// The server of a stream, with one encoder.
pub struct Server {
    service: Service,
    coding: &'static str,
}

impl Server {
    pub fn start(encoder: &Encoder, events: Vec<String>) -> Self {
        let compression = (encoder.enable)(Compression::new().disable_all());
        let router = Router::new().hoop(compression).get(Sends(events));
        Self { service: Service::new(router), coding: encoder.coding }
    }

    /// The body of an answer to a reader.
    pub async fn answer(&self) -> Result<Body> {
        let request = TestClient::get("http://localhost/");
        let request = request.add_header("accept-encoding", self.coding, true);
        let mut answer = request.send(&self.service).await;
        let coding = answer.headers().get(CONTENT_ENCODING);
        let coding = coding.map_or(Ok("identity"), HeaderValue::to_str)?;
        ensure!(coding == self.coding, "{coding} came instead of {}", self.coding);
        Ok(Body(answer.take_body()))
    }
}

pub struct Body(ResBody);

impl Body {
    /// The next piece, which hyper would write at once.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(frame) = self.0.frame().await else { return Ok(None) };
        let frame = frame.map_err(|error| anyhow!("{error}"))?;
        let data = frame.into_data().map_err(|_| anyhow!("only data"))?;
        Ok(Some(data.to_vec()))
    }
}

/// Takes the coding away, piece by piece, as a browser does.
pub enum Decoder {
    Plain(Vec<u8>),
    Gzip(flate2::write::GzDecoder<Vec<u8>>),
    Brotli(Box<brotli::DecompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Decoder<'static, Vec<u8>>),
}

impl Decoder {
    pub fn of(encoder: &Encoder) -> Result<Self> {
        let text = Vec::new();
        Ok(match encoder.coding {
            "identity" => Self::Plain(text),
            "gzip" => Self::Gzip(flate2::write::GzDecoder::new(text)),
            "br" => {
                Self::Brotli(Box::new(brotli::DecompressorWriter::new(text, 4_096)))
            }
            "zstd" => Self::Zstd(zstd::stream::write::Decoder::new(text)?),
            other => bail!("no decoder for {other}"),
        })
    }

    /// The text up to the end of this piece.
    pub fn text(&mut self, piece: &[u8]) -> Result<&[u8]> {
        Ok(match self {
            Self::Plain(text) => {
                text.extend_from_slice(piece);
                text
            }
            Self::Gzip(decoder) => {
                decoder.write_all(piece)?;
                decoder.flush()?;
                decoder.get_ref()
            }
            Self::Brotli(decoder) => {
                decoder.write_all(piece)?;
                decoder.flush()?;
                decoder.get_ref()
            }
            Self::Zstd(decoder) => {
                decoder.write_all(piece)?;
                decoder.flush()?;
                decoder.get_ref()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The coding that Salvo answers this `Accept-Encoding` with.
    async fn coding(compression: Compression, accepted: &str) -> String {
        let router = Router::new().hoop(compression).get(Sends(Vec::new()));
        let request = TestClient::get("http://localhost/");
        let request = request.add_header("accept-encoding", accepted, true);
        let answer = request.send(&Service::new(router)).await;
        let coding = answer.headers().get(CONTENT_ENCODING);
        coding.map_or("none", |coding| coding.to_str().unwrap()).to_string()
    }

    #[tokio::test]
    async fn salvo_takes_the_first_coding_that_the_reader_names_unless_it_is_told() {
        let browser = "gzip, deflate, br, zstd";
        let curl = "deflate, gzip, br, zstd";
        for (accepted, coded) in [
            (browser, "gzip"),
            (curl, "deflate"),
            ("br", "br"),
            ("identity", "none"),
        ] {
            assert_eq!(coding(Compression::new(), accepted).await, coded);
        }
        let forced = Compression::new().force_priority(true);
        assert_eq!(coding(forced, browser).await, "zstd");
    }
}
