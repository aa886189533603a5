//! The table in the book is the one that these parsers make today. (Their speed is another
//! one on each machine: nothing compares that table.)

use std::process::Command;

/// A table without its first lines, which say when and where it was made, and by which
/// command.
fn without_circumstances(table: &str) -> &str {
    &table[table.find("\n| ").expect("a table")..]
}

#[test]
fn the_recorded_conformance_table_is_the_one_that_a_run_prints() {
    let parsers = Command::new(env!("CARGO_BIN_EXE_parsers"))
        .args(["--only", "conformance", "--quick"])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&parsers.stderr);
    assert!(parsers.status.success(), "{stderr}");
    let printed = String::from_utf8(parsers.stdout).unwrap();
    let recorded = include_str!("../../recorded/conformance.md");
    assert_eq!(
        without_circumstances(&printed).trim_end(),
        without_circumstances(recorded).trim_end(),
        "write it anew: cargo run --release -p parsers -- --only conformance --save recorded"
    );
}
