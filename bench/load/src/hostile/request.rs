//! The hostile requests. Each one follows from the seed and its number alone, and from an id
//! that the program has given out before.

use std::time::Duration;

use fastrand::Rng;

/// A request that a program serves. In a target, `{id}`, `{known}` and `{fault}` stand for an
/// id that a client makes up, one that the program has given out, and the name of a fault.
pub struct Route {
    pub method: &'static str,
    pub target: &'static str,
    pub content_type: &'static str,
    pub body: &'static str,
}

/// What is odd about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Nothing,
    Method,
    Head,
    Body,
    Id,
    Half,
    Drip,
    Flood,
    Pipeline,
    Deaf,
    Reset,
    /// It breaks off, but the client stays until it is sent away.
    Stay,
}

impl Kind {
    /// With how many of 100 requests are of this kind.
    pub const ALL: [(Self, u32); 12] = [
        (Self::Nothing, 19),
        (Self::Method, 12),
        (Self::Head, 20),
        (Self::Body, 16),
        (Self::Id, 16),
        (Self::Half, 5),
        (Self::Drip, 2),
        (Self::Flood, 2),
        (Self::Pipeline, 4),
        (Self::Deaf, 1),
        (Self::Reset, 3),
        (Self::Stay, 0),
    ];
}

/// How the bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Manner {
    Whole,
    /// So many bytes at a time.
    Drip(usize),
    /// The body, from here on, waits for the server to ask for it.
    Asked(usize),
    /// Then no more, and the connection stays for a moment.
    Stop,
    /// Then no more, or a byte each second, for as long as the server keeps the connection.
    Stay {
        drips: bool,
    },
    /// Then this half of the connection is closed.
    HalfClose,
    /// Then the connection is closed.
    Leave,
    /// Then it is reset.
    Reset,
    /// Then nothing is read for so long.
    Deaf(Duration),
    /// On so many connections, which are closed at once.
    Flood(u32),
}

#[derive(Debug, PartialEq)]
pub struct Hostile {
    pub kind: Kind,
    pub manner: Manner,
    pub bytes: Vec<u8>,
    /// For each request in these bytes that is complete, and so deserves an answer: whether
    /// it is a HEAD, whose answer has no body.
    pub deserved: Vec<bool>,
}

/// Ids that clients make up. Fewer than any program keeps, so that an honest client's stream
/// is not pushed out by them.
const IDS: u64 = 24;

/// Where it says `{fault}`. The last two give no answer, and are not for scripts.
const FAULTS: [&str; 10] = [
    "good",
    "204",
    "307",
    "502",
    "wrong-type",
    "cut-mid-event",
    "endless-line",
    "retry-0",
    "refuse",
    "silent-head",
];

const ODD_IDS: [&[u8]; 30] = [
    b"",
    b"0",
    b"-1",
    b"+1",
    b"1-0",
    b"0-0",
    b"-",
    b"18446744073709551616",
    b"18446744073709551615-18446744073709551615",
    b"1764001234567-1",
    b"1-99999999999999999999",
    b"0000000000000000-1",
    b"ffffffffffffffff-18446744073709551615",
    b"+0000000000000000000000000000001",
    b"NaN",
    b"start",
    b"start&from=start",
    b"%00",
    b"%0d%0aset-cookie:%20a=b",
    b"%0A%0Adata:%20x",
    b"%ff%fe",
    b"%",
    b"%zz",
    b"..%2f..%2fetc",
    b"%F0%9F%99%82",
    "\u{1f642}".as_bytes(),
    b"\xff\xfe",
    b"a b",
    b"a\0b",
    b"a\rb",
];

const NAMES: [&str; 8] =
    ["after", "lastEventId", "as", "from", "reader", "chunk", "pace", "x"];

const METHODS: [&str; 12] = [
    "OPTIONS",
    "PUT",
    "DELETE",
    "PATCH",
    "TRACE",
    "CONNECT",
    "PROPFIND",
    "POST",
    "get",
    "G@T",
    "",
    "\u{1f642}",
];

const TARGETS: [&[u8]; 14] = [
    b"*",
    b"",
    b"?",
    b"//",
    b"/?",
    b"/#a",
    b"/../..",
    b"/%2e%2e/%2e",
    b"/%ff%fe",
    b"/%",
    b"/%00",
    b"/\xff",
    b"/a\0",
    b"http://",
];

/// Whole lines of a head.
const FIELDS: [&[u8]; 33] = [
    b"host: elsewhere.example",
    b"host:",
    b"host: a b",
    b"host: [::1",
    b"x-odd: \xff\xfe\x80",
    b"x-odd:",
    b": empty",
    b"no colon",
    b"before : colon",
    b" folded",
    b"\tfolded",
    b"x\0: a",
    b"x: a\0b",
    b"x: a\rb",
    b"x\xff: a",
    b"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13",
    b"upgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABkAAQ",
    b"connection: keep-alive, \xff",
    b"connection: close, keep-alive",
    b"connection: host, last-event-id",
    b"te: trailers",
    b"accept: \xff/*;q=9",
    b"accept-encoding: gzip, br, zstd",
    b"content-type: \xff",
    b"content-type: application/json\r\ncontent-type: text/plain",
    b"origin: null",
    b"origin: http://elsewhere.example",
    b"origin: \xff\r\norigin: null",
    b"sec-fetch-site: cross-site",
    b"sec-fetch-site: same-origin\r\norigin: http://127.0.0.1",
    b"range: bytes=0-1,5-",
    b"if-none-match: *",
    b"expect: much",
];

const TEXTS: [&[u8]; 18] = [
    b"",
    b" ",
    b"\xff\xfe",
    b"{",
    b"null",
    b"1e999",
    b"[]",
    b"\"\\ud800\"",
    br#"{"prompt":"\ud800","type":"note","data":"\udc00\ud800"}"#,
    br#"{"prompt":"\u0000","type":"\u0000","data":"\u0000"}"#,
    br#"{"prompt":1,"type":2,"data":3}"#,
    br#"{"prompt":"a","prompt":"b","type":"a","type":"b","data":"c","data":"d"}"#,
    br#"{"prompt":"a","type":"a\nb","data":"a\rb\nc"}"#,
    br#"{"prompt":"a","type":"note","data":"b"} x"#,
    b"\xef\xbb\xbf{\"prompt\":\"a\"}",
    b"\x1b[2J",
    b"good good 502",
    b"id: 1\0\nretry: -1\ndata\n\n\r\r\n",
];

/// The framing of a body that the head gets wrong. A server must refuse each of them as soon
/// as it has the head.
const LENGTHS: [&str; 10] = [
    "content-length: a",
    "content-length: -1",
    "content-length: +5",
    "content-length: 1e3",
    "content-length:",
    "content-length: 99999999999999999999999999",
    "content-length: 5\r\ncontent-length: 6",
    "content-length: 5, 6",
    "transfer-encoding: identity",
    "transfer-encoding: xchunked",
];

/// The requests from this number on are of those who stay.
pub const STAYING: u64 = u64::MAX - 1_000;

/// Request `number` of a program that has these routes.
pub fn generate(routes: &[Route], seed: u64, number: u64, known: &str) -> Hostile {
    let mut rng = Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut rest = rng.u32(..100);
    let kind = Kind::ALL.into_iter().find(|(_, share)| {
        let found = rest < *share;
        rest = rest.saturating_sub(*share);
        found
    });
    let kind = match kind {
        _ if number >= STAYING => Kind::Stay,
        Some((kind, _)) => kind,
        None => Kind::Nothing,
    };
    let mut draft = Draft::valid(routes, known, &mut rng);
    let mut manner = Manner::Whole;
    match kind {
        Kind::Nothing | Kind::Flood | Kind::Pipeline | Kind::Deaf => {}
        Kind::Method => draft.odd_method(&mut rng),
        Kind::Head => draft.odd_head(&mut rng),
        Kind::Body => draft.odd_body(&mut rng),
        Kind::Id => draft.odd_id(&mut rng),
        Kind::Stay => {
            while draft.body.is_empty() {
                draft = Draft::valid(routes, known, &mut rng);
            }
            // More is announced than ever comes.
            draft.framed = true;
            if rng.bool() {
                draft.field("content-length: 100000");
            } else {
                draft.field("transfer-encoding: chunked");
                draft.body.splice(..0, *b"186a0\r\n");
            }
        }
        Kind::Half | Kind::Drip | Kind::Reset => match rng.u8(..4) {
            0 => draft.odd_body(&mut rng),
            1 => draft.odd_id(&mut rng),
            _ => {}
        },
    }
    let (head, mut bytes) = draft.encode();
    let is_head = draft.method == b"HEAD";
    let mut deserved: Vec<_> =
        draft.answered.then_some(is_head).into_iter().collect();
    match kind {
        Kind::Head | Kind::Body if draft.expects => manner = Manner::Asked(head),
        Kind::Half => {
            bytes.truncate(rng.usize(1..bytes.len()));
            manner =
                *pick(&[Manner::Stop, Manner::HalfClose, Manner::Leave], &mut rng);
            deserved.clear();
        }
        Kind::Stay => {
            if rng.bool() {
                bytes.truncate(rng.usize(1..head));
            }
            manner = Manner::Stay { drips: rng.bool() };
            deserved.clear();
        }
        Kind::Drip => manner = Manner::Drip(bytes.len() / 400 + 1),
        Kind::Flood => {
            if rng.bool() {
                bytes.clear();
            }
            manner = Manner::Flood(rng.u32(5..20));
            deserved.clear();
        }
        Kind::Pipeline => {
            for _ in 0..rng.u8(1..12) {
                let next = Draft::valid(routes, known, &mut rng);
                if draft.answered && next.answered {
                    bytes.extend(next.encode().1);
                    deserved.push(next.method == b"HEAD");
                }
            }
        }
        Kind::Deaf => {
            manner = Manner::Deaf(Duration::from_millis(rng.u64(100..2_000)));
            deserved.clear();
        }
        Kind::Reset => {
            manner = Manner::Reset;
            deserved.clear();
        }
        _ => {}
    }
    Hostile { kind, manner, bytes, deserved }
}

fn pick<'a, T>(list: &'a [T], rng: &mut Rng) -> &'a T {
    &list[rng.usize(..list.len())]
}

/// A request that is being made worse.
struct Draft {
    method: Vec<u8>,
    target: Vec<u8>,
    version: &'static str,
    fields: Vec<Vec<u8>>,
    body: Vec<u8>,
    /// The fields say how long the body is.
    framed: bool,
    expects: bool,
    /// It is complete.
    answered: bool,
}

impl Draft {
    /// One that the program serves, at least if it knows the id.
    fn valid(routes: &[Route], known: &str, rng: &mut Rng) -> Self {
        let route = pick(routes, rng);
        let fault = *pick(&FAULTS, rng);
        let target =
            route.target.replace("{id}", &format!("{:08x}", rng.u64(..IDS)));
        let target = target.replace("{known}", known).replace("{fault}", fault);
        let answered =
            !target.ends_with("/refuse") && !target.ends_with("/silent-head");
        let method = match route.method {
            "GET" if rng.u8(..8) == 0 => "HEAD",
            method => method,
        };
        let mut fields = vec![b"host: 127.0.0.1".to_vec()];
        if !route.content_type.is_empty() {
            fields.push(format!("content-type: {}", route.content_type).into());
        }
        Self {
            method: method.into(),
            target: target.into(),
            version: "HTTP/1.1",
            fields,
            body: route.body.into(),
            framed: false,
            expects: false,
            answered,
        }
    }

    fn field(&mut self, line: impl Into<Vec<u8>>) {
        self.fields.push(line.into());
    }

    fn odd_method(&mut self, rng: &mut Rng) {
        self.method = match rng.u8(..10) {
            0..4 => "HEAD".into(),
            4 => vec![b'A'; rng.usize(30..9_000)],
            _ => (*pick(&METHODS, rng)).into(),
        };
        if rng.bool() {
            self.body = pick(&TEXTS, rng).to_vec();
        }
    }

    fn odd_head(&mut self, rng: &mut Rng) {
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
                    let most = *pick(&[5_000, 8_200, 20_000, 70_000, 450_000], rng);
                    let mut line = b"cookie: a=".to_vec();
                    line.resize(rng.usize(most / 2..most), b'a');
                    self.field(line);
                }
                4 => {
                    let line = *pick(&["x: a", "cookie: a=b", "accept: */*"], rng);
                    let count = rng.usize(20..300);
                    self.fields.extend(vec![line.into(); count]);
                }
                5 => self.version = "HTTP/1.0",
                6 => {
                    let odd =
                        ["HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "http/1.1", "HTTP/11"];
                    self.version = *pick(&odd, rng);
                }
                7 => {
                    self.field("expect: 100-continue");
                    self.expects = true;
                }
                8 => self.target = pick(&TARGETS, rng).to_vec(),
                9 => {
                    self.target.push(b'?');
                    let length = *pick(&[100, 5_000, 9_000, 70_000], rng);
                    self.target.resize(length, *pick(b"a%&=", rng));
                }
                10 => self
                    .method
                    .splice(..0, *pick(&[*b"\r\n", *b"  "], rng))
                    .for_each(drop),
                _ => self.field(*pick(&FIELDS, rng)),
            }
            if self.fields.is_empty() {
                return;
            }
        }
    }

    fn odd_id(&mut self, rng: &mut Rng) {
        for _ in 0..rng.u8(1..4) {
            let mut id = pick(&ODD_IDS, rng).to_vec();
            if rng.u8(..20) == 0 {
                id = vec![*pick(b"09-f%", rng); rng.usize(30..9_000)];
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
                    let mark = if self.target.contains(&b'?') { '&' } else { '?' };
                    let name = *pick(&NAMES, rng);
                    self.target.extend(format!("{mark}{name}=").bytes());
                    self.target.extend(id);
                }
            }
        }
    }

    fn odd_body(&mut self, rng: &mut Rng) {
        if self.method == b"GET" && rng.bool() {
            self.method = pick(&["POST", "PUT"], rng).as_bytes().to_vec();
        }
        match rng.u8(..8) {
            0 | 1 => self.body = pick(&TEXTS, rng).to_vec(),
            2 => self.body = (0..rng.usize(..300)).map(|_| rng.u8(..)).collect(),
            3 => {
                let open =
                    *pick(&["[", "{\"a\":", "{\"prompt\":[", "[{\"a\":"], rng);
                self.body = open.repeat(*pick(&[100, 1_000, 20_000], rng)).into();
            }
            4 => {
                let most = match rng.u8(..50) {
                    0 => 3 << 20,
                    _ => *pick(&[5_000, 17_000, 70_000, 140_000, 600_000], rng),
                };
                let byte = *pick(b"a\n\r\"\\ \0\xff", rng);
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
                self.field(*pick(&LENGTHS, rng));
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
                self.body.extend(*pick(&[&b""[..], b"x", b"-1\r\n", b"\0"], rng));
                self.answered = false;
            }
            9 => {
                self.framed = false;
                self.field(*pick(
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
        self.field(*pick(&te, rng));
        let mut bytes = Vec::new();
        let mut rest = &self.body[..];
        while !rest.is_empty() {
            let least = rest.len() / 50 + 1;
            let size = rng.usize(least..=rest.len());
            let more = *pick(&["", ";a", ";a=b;c=\"d\\\";e\""], rng);
            let zeros = *pick(&["", "0", "000"], rng);
            bytes.extend(format!("{zeros}{size:X}{more}\r\n").bytes());
            bytes.extend(&rest[..size]);
            bytes.extend(b"\r\n");
            rest = &rest[size..];
        }
        bytes.extend(*pick(&[&b"0\r\n\r\n"[..], b"0;a=b\r\nx: y\r\n\r\n"], rng));
        self.body = bytes;
    }

    /// The length of the head, and all bytes.
    fn encode(&self) -> (usize, Vec<u8>) {
        let target = [b" ", &self.target[..], b" "].concat();
        let mut bytes =
            [&self.method, &target[..], self.version.as_bytes()].concat();
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

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: [Route; 2] = [
        Route { method: "GET", target: "/a?as={id}", content_type: "", body: "" },
        Route {
            method: "POST",
            target: "/b/{known}",
            content_type: "text/x",
            body: "hi",
        },
    ];

    #[test]
    fn the_same_seed_and_number_make_the_same_request_and_others_make_others() {
        for number in 0..2_000 {
            let once = generate(&ROUTES, 7, number, "1-0");
            assert_eq!(once, generate(&ROUTES, 7, number, "1-0"), "{number}");
        }
        let first = |seed| {
            (0..100)
                .map(|n| generate(&ROUTES, seed, n, "").bytes)
                .collect::<Vec<_>>()
        };
        assert_ne!(first(7), first(8));
    }

    #[test]
    fn every_kind_comes_as_often_as_it_shall() {
        let all = Kind::ALL;
        assert_eq!(all.iter().map(|(_, share)| share).sum::<u32>(), 100);
        let made: Vec<_> =
            (0..10_000).map(|n| generate(&ROUTES, 1, n, "").kind).collect();
        for (kind, share) in all {
            let count = made.iter().filter(|made| **made == kind).count();
            let right = share as usize * 100;
            assert!((right / 2..right * 2).contains(&count), "{kind:?}: {count}");
        }
    }

    #[test]
    fn what_breaks_off_deserves_no_answer_and_what_is_whole_does() {
        for number in 0..5_000 {
            let Hostile { kind, bytes, deserved, .. } =
                generate(&ROUTES, 3, number, "");
            match kind {
                Kind::Nothing | Kind::Id | Kind::Method => {
                    assert_eq!(deserved.len(), 1)
                }
                Kind::Head => {
                    assert_eq!(deserved.len(), 1);
                    assert!(memchr::memmem::find(&bytes, b"\r\n\r\n").is_some());
                }
                Kind::Half | Kind::Reset | Kind::Flood => assert_eq!(deserved, []),
                _ => {}
            }
        }
    }
}
