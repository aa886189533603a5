//! Faults: how a check says that something is wrong.

use std::fmt;
use std::time::Duration;

/// A fault that a check has found: its name, what came, and what should have come. The
/// words for its name stand in `exercise.toml`, or in `words/` where any program can have it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub name: String,
    pub came: String,
    pub should: String,
}

impl Fault {
    pub fn new(
        name: &str,
        should: impl fmt::Display,
        came: impl fmt::Display,
    ) -> Self {
        Self {
            name: name.into(),
            came: came.to_string(),
            should: should.to_string(),
        }
    }

    /// Nothing came where something should have.
    pub fn silent(should: impl fmt::Display, time: Duration) -> Self {
        Self::new("silent", should, format_args!("nothing for {}", Seconds(time)))
    }

    /// The machine, and not the program, has failed.
    pub fn unable(why: impl fmt::Display) -> Self {
        Self::new("unable", "", why)
    }
}

/// Goes on if something holds, or else ends the check with this fault.
///
/// ```ignore
/// expect("first", event.data == "7", "data: 7", &event)?;
/// ```
pub fn expect(
    name: &str,
    holds: bool,
    should: impl fmt::Display,
    came: impl fmt::Display,
) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(Fault::new(name, should, came)) }
}

/// A time in seconds, as in `5 s` or `0.3 s`.
pub struct Seconds(pub Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let tenths = (self.0.as_millis() + 50) / 100;
        match tenths % 10 {
            0 => write!(f, "{} s", tenths / 10),
            tenth => write!(f, "{}.{tenth} s", tenths / 10),
        }
    }
}
