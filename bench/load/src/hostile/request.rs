//! The hostile requests. Each one follows from the seed and its number alone, and from an id
//! that the program has given out before.

use std::time::Duration;

use fastrand::Rng;

use super::draft::{Draft, pick};

/// A request that a program serves: the method, the target, the type of the body and the body.
/// In a target, `{id}` stands for one of a few ids that clients make up, `{known}` for one that
/// the program has given out, and `{fault}` for the name of a fault.
pub type Route = [&'static str; 4];

/// The odd thing about a request.
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
                pick(&[Manner::Stop, Manner::HalfClose, Manner::Leave], &mut rng);
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

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: [Route; 2] =
        [["GET", "/a?as={id}", "", ""], ["POST", "/b/{known}", "text/x", "hi"]];

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
                Kind::Half | Kind::Reset | Kind::Flood => {
                    assert!(deserved.is_empty())
                }
                _ => {}
            }
        }
    }
}
