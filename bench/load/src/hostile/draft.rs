//! The parts of requests, and what can be odd about them.

use fastrand::Rng;

use super::request::Route;

/// Ids that clients make up. Fewer than any program keeps, so that an honest client's stream
/// is not pushed out by them.
const IDS: u64 = 24;

// Each of the following is a list, with `|` between its parts.

/// The last two give no answer at all.
const FAULTS: &[u8] =
    b"good|204|307|502|wrong-type|cut-mid-event|endless-line|retry-0|\
    refuse|silent-head";

const ODD_IDS: &[u8] = b"|0|-1|+1|1-0|0-0|-|1-|18446744073709551616|1764001234567-1|\
    18446744073709551615-18446744073709551615|1-99999999999999999999|0000000000000000-1|\
    ffffffffffffffff-18446744073709551615|+0000000000000000000000000000001|NaN|start|\
    start&from=start|%00|%0d%0aset-cookie:%20a=b|%0A%0Adata:%20x|%ff%fe|%|%zz|..%2f..%2fetc|\
    %F0%9F%99%82|\xf0\x9f\x99\x82|\xff\xfe|a b|a\0b|a\rb";

const NAMES: &[u8] = b"after|lastEventId|as|from|reader|chunk|pace|moved|x";

const METHODS: &[u8] =
    b"OPTIONS|PUT|DELETE|PATCH|TRACE|CONNECT|PROPFIND|POST|get|G@T||\xf0\x9f\x99\x82";

const TARGETS: &[u8] =
    b"*||?|//|/?|/#a|/../..|/%2e%2e/%2e|/%ff%fe|/%|/%00|/\xff|/a\0|http://|a:1";

const VERSIONS: &[u8] = b"HTTP/1.2|HTTP/2.0|HTTP/0.9|http/1.1|HTTP/11|HTTP/1.";

const FIELDS: &[u8] = b"host: elsewhere.example|host:|host: a b|host: [::1|x: \xff\xfe\x80|x:|\
    : empty|no colon|before : colon| folded|\tfolded|x\0: a|x: a\0b|x: a\rb|x\xff: a|\
    upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13|\
    upgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABkAAQ|\
    connection: keep-alive, \xff|connection: close, keep-alive|connection: host|te: trailers|\
    accept: \xff/*;q=9|accept-encoding: gzip, br|range: bytes=0-1,5-|if-none-match: *|\
    content-type: \xff|content-type: application/json\r\ncontent-type: text/plain|\
    origin: null|origin: http://elsewhere.example|origin: \xff\r\norigin: null|\
    sec-fetch-site: cross-site|sec-fetch-site: none\r\norigin: http://[|expect: much";

const TEXTS: &[u8] = br#"| |{|null|1e999|[]|"\ud800"|good good 502|
    {"prompt":"\ud800","type":"note","data":"\udc00\ud800"}|
    {"prompt":"\u0000","type":"\u0000","data":"\u0000"}|
    {"prompt":1,"type":2,"data":3}|
    {"prompt":"a","prompt":"b","type":"a","type":"b","data":"c","data":"d"}|
    {"prompt":"a","type":"a\nb","data":"a\rb\nc"}|
    {"prompt":"a","type":"note","data":"b"} x"#;

/// A length that is none. A server must refuse each of them as soon as it has the head.
const LENGTHS: &[u8] = b"content-length: a|content-length: -1|content-length: +5|\
    content-length: 1e3|content-length:|content-length: 99999999999999999999999999|\
    content-length: 5\r\ncontent-length: 6|content-length: 5, 6|\
    transfer-encoding: identity|transfer-encoding: xchunked";

pub fn pick<T: Copy>(list: &[T], rng: &mut Rng) -> T {
    list[rng.usize(..list.len())]
}

fn part(list: &'static [u8], rng: &mut Rng) -> &'static [u8] {
    let parts = list.split(|byte| *byte == b'|');
    pick(&parts.collect::<Vec<_>>(), rng)
}

/// A request that is being made worse.
pub struct Draft {
    pub method: Vec<u8>,
    target: Vec<u8>,
    version: &'static [u8],
    fields: Vec<Vec<u8>>,
    pub body: Vec<u8>,
    /// The fields say how long the body is.
    pub framed: bool,
    pub expects: bool,
    /// It is complete.
    pub answered: bool,
}

impl Draft {
    /// One that the program serves, at least if it knows the id.
    pub fn valid(routes: &[Route], known: &str, rng: &mut Rng) -> Self {
        let [method, target, content_type, body] = pick(routes, rng);
        let fault = String::from_utf8_lossy(part(FAULTS, rng));
        let id = format!("{:032x}", rng.u64(..IDS));
        let target = target.replace("{id}", &id).replace("{known}", known);
        let target = target.replace("{fault}", &fault);
        let answered =
            !target.ends_with("/refuse") && !target.ends_with("/silent-head");
        let is_head = method == "GET" && rng.u8(..8) == 0;
        let mut fields = vec![b"host: 127.0.0.1".to_vec()];
        if !content_type.is_empty() {
            fields.push(format!("content-type: {content_type}").into());
        }
        Self {
            method: if is_head { "HEAD" } else { method }.into(),
            target: target.into(),
            version: b"HTTP/1.1",
            fields,
            body: body.into(),
            framed: false,
            expects: false,
            answered,
        }
    }

    pub fn field(&mut self, line: impl Into<Vec<u8>>) {
        self.fields.push(line.into());
    }

    pub fn odd_method(&mut self, rng: &mut Rng) {
        self.method = match rng.u8(..10) {
            0..4 => "HEAD".into(),
            4 => vec![b'A'; rng.usize(30..9_000)],
            _ => part(METHODS, rng).into(),
        };
        if rng.bool() {
            self.body = part(TEXTS, rng).to_vec();
        }
    }

    pub fn odd_head(&mut self, rng: &mut Rng) {
        for _ in 0..rng.u8(1..4) {
            match rng.u8(..14) {
                0 => {
                    let hosts =
                        ["127.0.0.1", "elsewhere.example:444", "a:b@[::1]:80"];
                    let host = pick(&hosts, rng);
                    let scheme = pick(&["http", "https", "ftp"], rng);
                    let mut target = format!("{scheme}://{host}").into_bytes();
                    target.append(&mut self.target);
                    self.target = target;
                }
                1 => drop(self.fields.remove(0)),
                2 => self.fields[0] = b"x: first".to_vec(),
                3 => {
                    let most = pick(&[5_000, 8_200, 20_000, 70_000, 450_000], rng);
                    let mut line = b"cookie: a=".to_vec();
                    line.resize(rng.usize(most / 2..most), b'a');
                    self.field(line);
                }
                4 => {
                    let line = pick(&["x: a", "cookie: a=b", "accept: */*"], rng);
                    let count = rng.usize(20..300);
                    self.fields.extend(vec![line.into(); count]);
                }
                5 => self.version = b"HTTP/1.0",
                6 => self.version = part(VERSIONS, rng),
                7 => {
                    self.field("expect: 100-continue");
                    self.expects = true;
                }
                8 => self.target = part(TARGETS, rng).to_vec(),
                9 => {
                    self.target.push(b'?');
                    let length = pick(&[100, 5_000, 9_000, 70_000], rng);
                    self.target.resize(length, pick(b"a%&=", rng));
                }
                10 => self
                    .method
                    .splice(..0, pick(&[*b"\r\n", *b"  "], rng))
                    .for_each(drop),
                _ => self.field(part(FIELDS, rng)),
            }
            if self.fields.is_empty() {
                return;
            }
        }
    }

    pub fn odd_id(&mut self, rng: &mut Rng) {
        for _ in 0..rng.u8(1..4) {
            let mut id = part(ODD_IDS, rng).to_vec();
            if rng.u8(..20) == 0 {
                id = vec![pick(b"09-f%", rng); rng.usize(30..9_000)];
            }
            match rng.u8(..4) {
                0 => self.field([b"last-event-id: ", &id[..]].concat()),
                1 => self.field([b"idempotency-key: ", &id[..]].concat()),
                2 => {
                    let last = self.target.iter().rposition(|byte| *byte == b'/');
                    self.target.truncate(last.unwrap_or_default() + 1);
                    self.target.extend(id);
                }
                _ => {
                    let mark =
                        if self.target.contains(&b'?') { &b"&"[..] } else { b"?" };
                    self.target.extend([mark, part(NAMES, rng), b"=", &id].concat());
                }
            }
        }
    }

    pub fn odd_body(&mut self, rng: &mut Rng) {
        if self.method == b"GET" && rng.bool() {
            self.method = pick(&["POST", "PUT"], rng).as_bytes().to_vec();
        }
        match rng.u8(..8) {
            0 | 1 => self.body = part(TEXTS, rng).to_vec(),
            2 => self.body = (0..rng.usize(..300)).map(|_| rng.u8(..)).collect(),
            3 => {
                let open = pick(&["[", "{\"a\":", "{\"prompt\":[", "[{\"a\":"], rng);
                self.body = open.repeat(pick(&[100, 1_000, 20_000], rng)).into();
            }
            4 => {
                let most = match rng.u8(..50) {
                    0 => 3 << 20,
                    _ => pick(&[5_000, 17_000, 70_000, 140_000, 600_000], rng),
                };
                let byte = pick(b"a\n\r\"\\ \0\xff", rng);
                self.body = vec![byte; rng.usize(most * 9 / 10..most)];
            }
            _ => {}
        }
        let length = self.body.len();
        self.framed = true;
        match rng.u8(..14) {
            0..3 => self.chunk(rng),
            3 => {
                self.field(format!("content-length: {length}"));
                self.chunk(rng);
            }
            4 => {
                let same = format!("content-length: {length}");
                self.field(same.as_str());
                self.field(same);
            }
            5 => {
                // There is nothing behind the head that has to be read.
                self.body.clear();
                self.field(part(LENGTHS, rng));
            }
            6 => {
                let more = rng.usize(1..100_000);
                self.field(format!("content-length: {}", length + more));
                self.answered = false;
            }
            7 => self.field(format!("content-length: {}", rng.usize(..=length))),
            8 => {
                self.chunk(rng);
                let end = self.body.len() - rng.usize(1..=5);
                self.body.truncate(end);
                self.body.extend(pick(&[&b""[..], b"x", b"-1\r\n", b"\0"], rng));
                self.answered = false;
            }
            9 => {
                self.framed = false;
                self.field(pick(
                    &["content-encoding: gzip", "content-encoding: x"],
                    rng,
                ));
            }
            10 => {
                self.framed = false;
                self.field("expect: 100-continue");
                self.expects = true;
            }
            _ => self.framed = false,
        }
    }

    /// Sends the body in chunks, with all that the standard allows around them.
    fn chunk(&mut self, rng: &mut Rng) {
        let te = ["transfer-encoding: chunked", "transfer-encoding: gzip, Chunked"];
        self.field(pick(&te, rng));
        let mut bytes = Vec::new();
        let mut rest = &self.body[..];
        while !rest.is_empty() {
            let least = rest.len() / 50 + 1;
            let size = rng.usize(least..=rest.len());
            let more = pick(&["", ";a", ";a=b;c=\"d\\\";e\""], rng);
            let zeros = pick(&["", "0", "000"], rng);
            bytes.extend(format!("{zeros}{size:X}{more}\r\n").bytes());
            bytes.extend(&rest[..size]);
            bytes.extend(b"\r\n");
            rest = &rest[size..];
        }
        bytes.extend(pick(&[&b"0\r\n\r\n"[..], b"0;a=b\r\nx: y\r\n\r\n"], rng));
        self.body = bytes;
    }

    /// The length of the head, and all bytes.
    pub fn encode(&self) -> (usize, Vec<u8>) {
        let target = [b" ", &self.target[..], b" "].concat();
        let mut bytes = [&self.method, &target[..], self.version].concat();
        bytes.extend(b"\r\n");
        for field in &self.fields {
            bytes.extend(field);
            bytes.extend(b"\r\n");
        }
        if !self.framed && !self.body.is_empty() {
            bytes.extend(format!("content-length: {}\r\n", self.body.len()).bytes());
        }
        bytes.extend(b"\r\n");
        let head = bytes.len();
        bytes.extend(&self.body);
        (head, bytes)
    }
}
