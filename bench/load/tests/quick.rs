//! Each experiment against its real servers, quickly: the tool builds and starts them, and
//! prints its tables. The figures only have to be possible ones.

use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// A table that the tool has printed.
#[derive(Debug)]
struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// Runs the tool with these words, and returns its tables. One at a time: each has the
/// machine to itself.
fn load(args: &str) -> Vec<Table> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut load = Command::new(env!("CARGO_BIN_EXE_load"));
    let load = load.args(args.split_whitespace()).output().unwrap();
    let stderr = String::from_utf8_lossy(&load.stderr);
    assert!(load.status.success(), "{stderr}");
    let text = String::from_utf8(load.stdout).unwrap();
    let cells =
        |line: &str| line.split('|').map(|cell| cell.trim().into()).collect();
    let tables = text.split("\n\n").filter_map(|text| {
        let mut lines = text.lines().filter(|line| line.starts_with('|'));
        let head = cells(lines.next()?);
        Some(Table { head, rows: lines.skip(1).map(cells).collect() })
    });
    tables.collect()
}

impl Table {
    fn cell(&self, row: usize, column: &str) -> &str {
        &self.rows[row]
            [self.head.iter().position(|name| name == column).expect(column)]
    }

    fn number(&self, row: usize, column: &str) -> f64 {
        let cell = self.cell(row, column);
        let digits = cell.split([' ', '/']).next().unwrap();
        digits.parse().unwrap_or_else(|_| panic!("{column}: {cell}"))
    }
}

const ROOM: &str = "--readers 50 --messages 5";

#[test]
#[ignore = "builds a server"]
fn a_quick_run_against_the_floor_prints_a_sane_table() {
    let tables = load(&format!("{ROOM} --rounds 1 --only floor"));
    let [table] = &tables[..] else { panic!("{tables:?}") };
    assert_eq!(table.rows.len(), 1);
    assert_eq!(table.cell(0, "server"), "floor");
    assert_eq!(table.cell(0, "× floor"), "1.00");
    assert_eq!(table.cell(0, "lost"), "0");
    assert_eq!(table.cell(0, "connects repeated"), "0");
    let number = |column| table.number(0, column);
    assert!((0.5..500.0).contains(&number("CPU per delivery")), "{table:?}");
    assert!((0.0..100.0).contains(&number("memory per reader, idle")), "{table:?}");
    assert!((0.01..10_000.0).contains(&number("fan-out p50")), "{table:?}");
    assert!(number("p99") >= number("fan-out p50"), "{table:?}");
}

#[test]
#[ignore = "builds a server"]
fn a_program_that_is_compared_with_itself_has_its_rounds_and_a_spread_around_one() {
    load(&format!("{ROOM} --rounds 1 --only floor"));
    let folder = if cfg!(debug_assertions) { "debug" } else { "release" };
    let floor = format!("{}/../target/{folder}/floor", env!("CARGO_MANIFEST_DIR"));
    let tables =
        load(&format!("ab --before {floor} --after {floor} {ROOM} --rounds 2"));
    let [table] = &tables[..] else { panic!("{tables:?}") };
    assert_eq!(table.rows.len(), 3 * 4);
    let names = table.rows[..4].iter().map(|row| row[1].as_str());
    let names: Vec<_> = names.collect();
    let cpu = "CPU per delivery";
    let parts = ["round 1", "round 2", "median", "spread"];
    assert_eq!(names, parts.map(|part| format!("{cpu}, {part}")));
    let ratios = [0, 1].map(|round| table.number(round, "after ÷ before"));
    let spread = table.cell(3, "after ÷ before");
    let (least, most) = spread.split_once('–').unwrap();
    assert_eq!(least.parse::<f64>().unwrap(), ratios[0].min(ratios[1]));
    assert_eq!(most.parse::<f64>().unwrap(), ratios[0].max(ratios[1]));
    assert!((0.1..10.0).contains(&table.number(2, "after ÷ before")), "{table:?}");
}

#[test]
#[ignore = "builds a server"]
fn a_quick_run_through_the_relay_loses_nothing() {
    let quick =
        "tokens --answers 20 --tokens 50 --rounds 1 --only direct,peer-relay";
    let tables = load(quick);
    let [table] = &tables[..] else { panic!("{tables:?}") };
    assert_eq!(table.rows.len(), 2);
    let [direct, relay] = [0, 1];
    assert_eq!(table.cell(direct, "way"), "direct");
    assert_eq!(table.cell(relay, "way"), "peer-relay");
    assert_eq!(table.cell(relay, "answers done"), "20");
    assert_eq!(table.cell(relay, "tokens"), "1000");
    for column in ["lost", "repeated", "out of order"] {
        assert_eq!(table.cell(relay, column), "0", "{column}");
    }
    assert_eq!(table.cell(relay, "× peer-relay"), "1.00");
    let cpu = table.number(relay, "CPU per token");
    assert!((0.5..5_000.0).contains(&cpu), "{table:?}");
    for way in [direct, relay] {
        let p50 = table.number(way, "token p50");
        assert!((0.001..10_000.0).contains(&p50), "{table:?}");
        assert!(table.number(way, "p99") >= p50, "{table:?}");
    }
}

const FEED: &str =
    "feed --rounds 1 --posts 20 --events 2000 --readers 20 --seconds 1 --only";

#[test]
#[ignore = "builds a server"]
fn a_quick_run_of_the_embedded_store_prints_sane_tables() {
    let tables = load(&format!("{FEED} embedded"));
    let [_, latency, throughput] = &tables[..] else { panic!("{tables:?}") };
    for column in ["POST → 201 p50", "POST → reader p50", "floor p50"] {
        let time = latency.number(0, column);
        assert!((0.001..1_000.0).contains(&time), "{latency:?}");
    }
    for column in ["written", "floor", "replayed", "bare socket"] {
        let rate = throughput.number(0, column);
        assert!((10.0..1e9).contains(&rate), "{throughput:?}");
    }
    assert_eq!(throughput.cell(0, "XRANGE"), "–");
}

#[test]
#[ignore = "needs redis-server"]
fn a_quick_run_over_two_servers_loses_nothing() {
    let tables = load(&format!("{FEED} redis-everysec,fan-out-2-cpus"));
    let [_, _, throughput, fan_out] = &tables[..] else { panic!("{tables:?}") };
    assert!(throughput.number(0, "XRANGE") > 10.0, "{throughput:?}");
    // One second, and one to warm up.
    assert_eq!(fan_out.cell(0, "deliveries"), "4000");
    for column in ["lost", "repeated", "out of order"] {
        assert_eq!(fan_out.cell(0, column), "0", "{column}");
    }
    assert!(fan_out.number(0, "max") >= fan_out.number(0, "p50"), "{fan_out:?}");
}
