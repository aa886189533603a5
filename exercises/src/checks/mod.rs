//! The checks: a function for each exercise, which talks HTTP to a program as a client does,
//! and returns the first fault that it finds. A file for each chapter.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::timeout;

use crate::fault::Fault;
use crate::subject::Subject;

/// How long a whole check may take.
const LONGEST: Duration = Duration::from_secs(60);

/// A check that has begun.
type Checking<'a> = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + 'a>>;
/// A check: it looks at a program, and says what is wrong.
type Check = for<'a> fn(&'a mut Subject) -> Checking<'a>;

/// Names the functions that check the exercises of a chapter.
macro_rules! checks {
    ($($name:literal => $check:ident;)*) => {
        pub const CHECKS: &[(&str, super::Check)] =
            &[$(($name, |subject| Box::pin($check(subject)))),*];
    };
}

/// Compiles the files of the chapters, and lists their checks.
macro_rules! chapters {
    ($($chapter:ident)*) => {
        $(mod $chapter;)*
        const CHAPTERS: &[&[(&str, Check)]] = &[$($chapter::CHECKS),*];
    };
}

chapters! {
    hello tick waiting wire faults chat slow llm progress feed client page boxes servers
}

/// The exercises that have a check.
pub fn names() -> impl Iterator<Item = &'static str> {
    CHAPTERS.iter().copied().flatten().map(|(name, _)| *name)
}

/// The check of an exercise.
fn find(name: &str) -> Option<Check> {
    let mut checks = CHAPTERS.iter().copied().flatten();
    checks.find(|(own, _)| *own == name).map(|(_, check)| *check)
}

/// Checks a program.
pub async fn check(name: &str, subject: &mut Subject) -> Result<(), Fault> {
    let Some(check) = find(name) else {
        return Err(Fault::unable(format_args!("{name} has no check")));
    };
    let checked = timeout(LONGEST, check(subject)).await;
    checked.unwrap_or_else(|_| Err(Fault::new("endless", "", "")))
}
