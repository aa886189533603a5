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

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self { fault, stderr: None }
    }
}

/// Compiles what a reader has written.
pub async fn compile(root: &Path, of: &Definition) -> Result<Subject, Failed> {
    let program = cargo::build(&folder::of(root, &of.name)).await?;
    Ok(Subject::program(&program)?)
}

/// Checks a program: it has no fault, or where the reader was to break it, the promised one.
pub async fn judge(of: &Definition, mut subject: Subject) -> Result<(), Failed> {
    let fault = match check(&of.name, &mut subject).await {
        Ok(()) if of.breaks() => Fault::new("whole", "", ""),
        Err(fault) if of.breaks() && fault.name == of.fault => return Ok(()),
        Err(fault) => fault,
        Ok(()) => return Ok(()),
    };
    let stderr = subject.stderr();
    let stderr = Some(stderr).filter(|stderr| stderr.contains(PANIC));
    Err(Failed { fault, stderr })
}
