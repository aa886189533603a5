//! The whole tool against the real relay, quickly.

use std::process::Command;

#[test]
fn a_quick_run_through_the_relay_loses_nothing() {
    let output = Command::new(env!("CARGO_BIN_EXE_load"))
        .args(["tokens", "--answers", "20", "--tokens", "50", "--rounds", "1"])
        .args(["--only", "direct,peer-relay"])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");

    let table = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split('|').map(str::trim).collect()).collect();
    let [head, _, direct, relay] = rows.as_slice() else {
        panic!("not two rows: {table}")
    };
    let cell = |row: &[&'_ str], column: &str| -> String {
        row[head.iter().position(|name| *name == column).expect(column)].into()
    };
    let number = |row: &[&'_ str], column: &str| -> f64 {
        cell(row, column).split(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(cell(direct, "way"), "direct");
    assert_eq!(cell(relay, "way"), "peer-relay");
    assert_eq!(cell(relay, "answers done"), "20");
    assert_eq!(cell(relay, "tokens"), "1000");
    for column in ["lost", "repeated", "out of order"] {
        assert_eq!(cell(relay, column), "0", "{column}");
    }
    assert_eq!(cell(relay, "× peer-relay"), "1.00");
    assert!((0.5..5_000.0).contains(&number(relay, "CPU per token")), "{table}");
    for row in [direct, relay] {
        assert!((0.001..10_000.0).contains(&number(row, "token p50")), "{table}");
        assert!(number(row, "p99") >= number(row, "token p50"), "{table}");
    }
}
