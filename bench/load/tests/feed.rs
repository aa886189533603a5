//! The whole tool against the real feed, quickly.

use std::process::Command;

/// The rows of each table that it prints.
fn tables(args: &[&str]) -> Vec<Vec<Vec<String>>> {
    let output = Command::new(env!("CARGO_BIN_EXE_load"))
        .args(["feed", "--rounds", "1", "--posts", "20", "--events", "2000"])
        .args(["--readers", "20", "--seconds", "1"])
        .args(args)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let text = String::from_utf8(output.stdout).unwrap();
    let row = |line: &str| line.split('|').map(|cell| cell.trim().into()).collect();
    let tables = text.split("\n\n").map(|text| {
        let lines = text.lines().filter(|line| line.starts_with('|'));
        lines.map(row).collect::<Vec<_>>()
    });
    tables.filter(|table| !table.is_empty()).collect()
}

fn cell(table: &[Vec<String>], column: &str) -> String {
    let [head, _, row] = table else { panic!("not one row: {table:?}") };
    row[head.iter().position(|name| name == column).expect(column)].clone()
}

fn number(table: &[Vec<String>], column: &str) -> f64 {
    let cell = cell(table, column);
    let digits = cell.split([' ', '/']).next().unwrap();
    digits.parse().unwrap_or_else(|_| panic!("{column}: {cell}"))
}

#[test]
fn a_quick_run_of_the_embedded_store_prints_sane_tables() {
    let tables = tables(&["--only", "embedded"]);
    let [_, latency, throughput] = tables.as_slice() else { panic!("{tables:?}") };
    for column in ["POST → 201 p50", "POST → reader p50", "floor p50"] {
        assert!((0.001..1_000.0).contains(&number(latency, column)), "{latency:?}");
    }
    for column in ["written", "floor", "replayed", "bare socket"] {
        let rate = number(throughput, column);
        assert!((10.0..1e9).contains(&rate), "{throughput:?}");
    }
    assert_eq!(cell(throughput, "XRANGE"), "–");
}

#[test]
#[ignore = "needs redis-server"]
fn a_quick_run_over_two_servers_loses_nothing() {
    let tables = tables(&["--only", "redis-everysec,fan-out-2-cpus"]);
    let [_, _, throughput, fan_out] = tables.as_slice() else {
        panic!("{tables:?}")
    };
    assert!(number(throughput, "XRANGE") > 10.0, "{throughput:?}");
    // One second, and one to warm up.
    assert_eq!(cell(fan_out, "deliveries"), "4000");
    for column in ["lost", "repeated", "out of order"] {
        assert_eq!(cell(fan_out, column), "0", "{column}");
    }
    assert!(number(fan_out, "max") >= number(fan_out, "p50"), "{fan_out:?}");
}
