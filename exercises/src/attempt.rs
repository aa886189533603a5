//! A reader's attempt: what is in `try/NAME` is compiled and checked.

use std::path::Path;

use crate::cargo;
use crate::checks::check;
use crate::definition::Definition;
use crate::fault::Fault;
use crate::folder;
use crate::subject::Subject;

/// The text of a program that has panicked.
const PANIC: &str = "panicked at";

/// A fault that an attempt still has, and what the program wrote to stderr, if it says more.
#[derive(Clone, Debug)]
pub struct Failed {
    pub fault: Fault,
    pub stderr: Option<String>,
}

/// Compiles what a reader has written, and checks it.
pub async fn attempt(root: &Path, of: &Definition) -> Result<(), Failed> {
    let compiled = cargo::build(&folder::of(root, &of.name)).await;
    let subject = compiled.and_then(|program| Subject::program(&program));
    match subject {
        Ok(mut subject) => judge(of, &mut subject).await,
        Err(fault) => Err(Failed { fault, stderr: None }),
    }
}

/// Checks a server that runs at this address.
pub async fn attempt_at(url: &str, of: &Definition) -> Result<(), Failed> {
    judge(of, &mut Subject::at(url)).await
}

/// Checks a program: it has no fault, or where the reader was to break it, the promised one.
async fn judge(of: &Definition, subject: &mut Subject) -> Result<(), Failed> {
    let fault = match check(&of.name, subject).await {
        Ok(()) if of.breaks() => Fault::new("whole", "", ""),
        Err(fault) if of.breaks() && fault.name == of.fault => return Ok(()),
        Err(fault) => fault,
        Ok(()) => return Ok(()),
    };
    let stderr = subject.stderr();
    let stderr = Some(stderr).filter(|stderr| stderr.contains(PANIC));
    Err(Failed { fault, stderr })
}
