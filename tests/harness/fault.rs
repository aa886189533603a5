//! The ways in which a connection fails, a deck of them, and a request to which one happens.

use std::time::Duration;

use crate::follow::Random;

/// Requests in a row without an event, at most: a client waits twice as long each time.
const FRUITLESS: usize = 4;

/// One way in which a connection fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The connection is reset before an answer.
    Reset,
    /// It is closed before an answer.
    Close,
    /// The request is taken, and nothing comes.
    Silent,
    /// An answer with this status, and with `Retry-After` where there is a number.
    Answer(u16, Option<u8>),
    /// A page in place of the stream, with the status 200.
    Html,
    /// The connection breaks at this place of the answer's head.
    CutHead,
    /// It breaks behind the head.
    CutBody,
    /// It is reset there.
    ResetBody,
    /// Nothing comes any more, in the middle of an event or not.
    SilentBody,
    /// Only comments come any more.
    Comments,
    /// The chunks come late.
    Late,
    /// The stream comes in small pieces.
    Pieces,
    /// Many events come in one piece.
    Merged,
    /// The program is asked for what the client has had before.
    Repeat,
    /// The answer ends as it should, in the middle of an event or not.
    End,
}

impl Kind {
    pub const ALL: [Self; 20] = [
        Self::Reset,
        Self::Close,
        Self::Silent,
        Self::Answer(502, None),
        Self::Answer(503, None),
        Self::Answer(429, Some(0)),
        Self::Answer(429, Some(1)),
        Self::Answer(401, None),
        Self::Answer(204, None),
        Self::Html,
        Self::CutHead,
        Self::CutBody,
        Self::ResetBody,
        Self::SilentBody,
        Self::Comments,
        Self::Late,
        Self::Pieces,
        Self::Merged,
        Self::Repeat,
        Self::End,
    ];

    /// Whether a client has nothing to hope for. The proxy stays with such an answer until
    /// the page asks for `LANE/back`, as it would after its user has signed in again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Answer(401 | 204, _) | Self::Html)
    }

    /// Whether events may come before it.
    fn has_events(self) -> bool {
        !self.is_final()
            && !matches!(
                self,
                Self::Reset | Self::Close | Self::Silent | Self::CutHead
            )
            && !matches!(self, Self::Answer(..))
    }

    /// Whether the client has to notice by itself that nothing comes any more.
    pub fn is_silent(self) -> bool {
        matches!(self, Self::Silent | Self::SilentBody)
    }
}

/// A way to fail, and the byte of the answer at which it happens.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub kind: Kind,
    pub at: usize,
}

/// One request of a stream.
#[derive(Clone, Debug)]
pub struct Asked {
    pub lane: String,
    /// Its fault, when that has happened.
    pub kind: Option<Kind>,
    /// When it came, in milliseconds of the clock that a page has, too.
    pub from: u64,
    /// When the page or the proxy has closed its connection.
    pub to: Option<u64>,
    /// Whether it is a final answer that the page has had before.
    pub is_again: bool,
    /// How long the proxy was silent before the page left.
    pub silence: Option<Duration>,
    /// Bytes of the answer that were sent.
    pub sent: usize,
}

/// Faults in a random order: each kind, before one comes again.
pub struct Deck {
    random: Random,
    kinds: Vec<Kind>,
    left: Vec<Kind>,
    /// How many came in a row that let no event pass.
    fruitless: usize,
}

impl Deck {
    pub fn new(seed: u64, kinds: &[Kind]) -> Self {
        Self {
            random: Random(seed),
            kinds: kinds.to_vec(),
            left: Vec::new(),
            fruitless: 0,
        }
    }

    pub fn deal(&mut self) -> Fault {
        let needs_events = self.fruitless >= FRUITLESS;
        let may = |kind: &Kind| !needs_events || kind.has_events();
        if !self.left.iter().any(may) {
            self.left.extend_from_slice(&self.kinds);
        }
        let start = self.random.below(self.left.len());
        let mut places = (start..self.left.len()).chain(0..start);
        let place = places.find(|&place| may(&self.left[place]));
        let kind = self.left.swap_remove(place.expect("a kind with events"));
        self.fruitless = if kind.has_events() { 0 } else { self.fruitless + 1 };
        // A head has some 200 bytes.
        let at = match kind {
            Kind::CutHead => self.random.below(150),
            _ => 300 + self.random.below(1_200),
        };
        Fault { kind, at }
    }
}
