//! The whole tool against the real floor, quickly.

use std::process::Command;

#[test]
fn a_quick_run_against_the_floor_prints_a_sane_table() {
    let output = Command::new(env!("CARGO_BIN_EXE_load"))
        .args([
            "--readers",
            "50",
            "--messages",
            "5",
            "--rounds",
            "1",
            "--only",
            "floor",
        ])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");

    let table = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split('|').map(str::trim).collect()).collect();
    let [head, _, floor] = rows.as_slice() else { panic!("not one row: {table}") };
    let cell = |column: &str| {
        floor[head.iter().position(|name| *name == column).expect(column)]
    };
    let number = |column: &str| -> f64 {
        cell(column).split(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(cell("server"), "floor");
    assert_eq!(cell("× floor"), "1.00");
    assert_eq!(cell("lost"), "0");
    assert_eq!(cell("connects repeated"), "0");
    assert!((0.5..500.0).contains(&number("CPU per delivery")), "{table}");
    assert!((0.0..100.0).contains(&number("memory per reader, idle")), "{table}");
    assert!((0.01..10_000.0).contains(&number("fan-out p50")), "{table}");
    assert!(number("p99") >= number("fan-out p50"), "{table}");
}
