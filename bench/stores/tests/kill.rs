//! What was acknowledged is there after `kill -9`.

use std::process::Command;

#[test]
fn no_engine_loses_an_acknowledged_event_when_it_is_killed() {
    let output = Command::new(env!("CARGO_BIN_EXE_stores"))
        .args(["--only", "kills", "--kills", "5"])
        .output()
        .unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    for engine in ["file", "redb", "redb, quick repair", "fjall", "SQLite"] {
        let row =
            table.lines().find(|line| line.starts_with(&format!("| {engine} |")));
        let cells: Vec<_> = row.expect(&table).split('|').map(str::trim).collect();
        assert_ne!(cells[2], "0", "nothing was acknowledged: {table}");
        assert_eq!(cells[3], "0", "{table}");
    }
}
