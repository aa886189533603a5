//! The table of sizes in the book is the one that a run makes today. (What an encoder costs
//! is another figure on each machine: nothing compares that table.)

use std::process::Command;

/// A table without its first lines, which say when and where it was made, and by which
/// command.
fn without_circumstances(table: &str) -> &str {
    &table[table.find("\n| ").expect("a table")..]
}

/// Fails as well where an encoder of Salvo's holds an event back.
#[test]
fn the_recorded_sizes_are_those_of_a_run_and_each_event_is_flushed() {
    let squeeze = Command::new(env!("CARGO_BIN_EXE_squeeze"))
        .args(["--only", "sizes"])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&squeeze.stderr);
    assert!(squeeze.status.success(), "{stderr}");
    let printed = String::from_utf8(squeeze.stdout).unwrap();
    let recorded = include_str!("../../recorded/compressed.md");
    assert_eq!(
        without_circumstances(&printed).trim_end(),
        without_circumstances(recorded).trim_end(),
        "write it anew: cargo run --release -p squeeze -- --only sizes --save recorded"
    );
}
