//! `tests/preload/faults.c`, compiled for a test and given to the programs that it starts.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::binaries::root;
use crate::program::Program;

/// A library that spoils what a program gets from its system. Each variable names a file
/// with a number, and the test may write it at any time.
pub struct Preload(TempDir);

impl Preload {
    /// Compiles the library.
    pub fn compile() -> Self {
        let preload = Self(tempfile::tempdir().unwrap());
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-o", &preload.path("faults.so")]);
        let source = root().join("tests/preload/faults.c");
        assert!(cc.arg(source).status().unwrap().success());
        preload
    }

    /// Starts an example that looks at these numbers.
    pub async fn start(&self, name: &str, numbers: &[&str]) -> Program {
        let library = [("LD_PRELOAD", self.path("faults.so"))];
        let files = numbers.iter().map(|number| (*number, self.path(number)));
        let variables: Vec<_> = files.chain(library).collect();
        let variables: Vec<_> =
            variables.iter().map(|(name, file)| (*name, &**file)).collect();
        Program::start_with(name, &variables).await
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().into()
    }

    /// Writes a number. The file is replaced at once, because a program may look at any time.
    pub fn set(&self, name: &str, number: i64) {
        fs::write(self.path("new"), number.to_string()).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }
}
