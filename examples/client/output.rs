//! The output of `client`: events on stdout, remarks on stderr, and nothing in either that
//! could take over the terminal of the person who reads it.

use std::fmt;
use std::io::{self, BufWriter, ErrorKind, Write};
#[cfg(unix)]
use std::os::fd::AsFd;

#[cfg(unix)]
use nix::errno::Errno;
#[cfg(unix)]
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::parser::Event;

/// Prints events to stdout.
pub struct Output {
    to: BufWriter<Stdout>,
    json: bool,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Self { to: BufWriter::new(Stdout), json }
    }

    pub fn event(&mut self, event: &Event) -> io::Result<()> {
        let Event { event_type, data, last_event_id } = event;
        let to = &mut self.to;
        if self.json {
            return writeln!(
                to,
                r#"{{"type":{},"data":{},"lastEventId":{}}}"#,
                Json(event_type),
                Json(data),
                Json(last_event_id),
            );
        }
        write!(to, "{}", Plain(event_type))?;
        if !last_event_id.is_empty() {
            write!(to, " (id {})", Plain(last_event_id))?;
        }
        let mut before = ": ";
        for line in data.split('\n') {
            write!(to, "{before}{}", Plain(line))?;
            before = "\n    ";
        }
        writeln!(to)
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Stdout that waits where it has no room for now. It need not have been this program that
/// made it non-blocking: all processes that share a pipe or a terminal share this, too.
struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        patiently(|| io::stdout().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        patiently(|| io::stdout().flush())
    }
}

fn patiently<T>(mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match act() {
            #[cfg(unix)]
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                stdout_is(PollFlags::POLLOUT);
            }
            done => return done,
        }
    }
}

/// Returns when nobody can read stdout any more, and for a file never.
#[cfg(unix)]
pub fn wait_until_nobody_reads() {
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    while !stdout_is(PollFlags::empty()).intersects(gone) {}
}

/// Waits until one of these is so, or nobody can read stdout any more.
#[cfg(unix)]
fn stdout_is(flags: PollFlags) -> PollFlags {
    let stdout = io::stdout();
    let mut waiting = [PollFd::new(stdout.as_fd(), flags)];
    while poll(&mut waiting, PollTimeout::NONE) == Err(Errno::EINTR) {}
    waiting[0].revents().unwrap_or(PollFlags::empty())
}

/// Whether a character can take over a terminal, or show a text in another order than it is
/// written: control characters and marks of direction can.
fn is_unsafe_on_a_terminal(c: char) -> bool {
    c.is_control() && c != '\t'
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Text that is safe for a terminal.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        escape(f, self.0, is_unsafe_on_a_terminal, |f, c| {
            write!(f, "{}", c.escape_unicode())
        })
    }
}

/// A string of JSON, which is safe for a terminal, too.
struct Json<'a>(&'a str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let special =
            |c| matches!(c, '"' | '\\' | '\t') || is_unsafe_on_a_terminal(c);
        f.write_str("\"")?;
        escape(f, self.0, special, |f, c| match c {
            '"' | '\\' => write!(f, "\\{c}"),
            '\n' => f.write_str("\\n"),
            '\t' => f.write_str("\\t"),
            // No other character that is unsafe needs more than four digits.
            c => write!(f, "\\u{:04x}", u32::from(c)),
        })?;
        f.write_str("\"")
    }
}

/// Writes a text in which `write` takes care of each special character.
fn escape(
    f: &mut fmt::Formatter,
    mut text: &str,
    special: impl Fn(char) -> bool,
    write: impl Fn(&mut fmt::Formatter, char) -> fmt::Result,
) -> fmt::Result {
    while let Some(at) = text.find(&special) {
        let (plain, rest) = text.split_at(at);
        f.write_str(plain)?;
        let mut chars = rest.chars();
        chars.next().map_or(Ok(()), |c| write(f, c))?;
        text = chars.as_str();
    }
    f.write_str(text)
}

/// Tells the person at the terminal something, if there is one.
pub fn say(text: &str) {
    drop(writeln!(io::stderr(), "client: {}", Plain(text)));
}
