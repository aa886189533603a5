//! How an attempt ends, or the whole program, and why.

use std::io::{self, ErrorKind};
use std::time::Duration;

use super::parser::TooLarge;

/// The end of the program, and its reason for the person at the terminal.
pub struct End(pub Exit, pub String);

#[derive(Clone, Copy)]
pub enum Exit {
    Over = 0,
    Usage = 1,
    Refused = 2,
    GaveUp = 3,
    TooLarge = 4,
}

/// An answer that is not a stream, or the end of a stream.
pub enum Failure {
    /// Another attempt may do better, but not before this time has passed.
    Retry(String, Option<Duration>),
    Final(End),
}

impl Failure {
    /// A failure after which the server asks for no time in particular.
    pub fn retry(why: impl Into<String>) -> Self {
        Self::Retry(why.into(), None)
    }

    /// Another attempt would get the same.
    pub fn refused(why: impl Into<String>) -> Self {
        Self::Final(End(Exit::Refused, why.into()))
    }

    /// Adds to the reason.
    pub fn with(mut self, remark: &str) -> Self {
        let (Self::Retry(why, _) | Self::Final(End(_, why))) = &mut self;
        why.push_str(remark);
        self
    }
}

impl From<TooLarge> for End {
    fn from(error: TooLarge) -> Self {
        Self(Exit::TooLarge, error.to_string())
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self(Exit::Over, String::new()),
            _ => Self(Exit::Usage, format!("cannot write: {error}")),
        }
    }
}
