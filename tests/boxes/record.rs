//! The recorded matrix: each part measures rows, a box and a configuration each, and keeps
//! them in `tests/recorded/boxes-PART.jsonl`. The pages include `boxes-PART.md`, which is
//! made from it and holds only numbers and code, so that it serves every language.
//!
//! A row is a JSON object. Its words and booleans say what the box does: each run compares
//! them with the recording. Its numbers, with the unit in the name (`p50_us`), are noise to
//! another machine: they are recorded and shown, and never compared.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use serde_json::{Value, json};
use tests::{Middlebox, is_whole, root};

/// One table of a part: its name, which is its anchor in the Markdown, and the cells of a
/// row behind those of the box and the configuration. A row without cells is left out. A
/// table `default` has one configuration, and no cell that says so.
pub type Table = (&'static str, fn(&Value) -> Option<Vec<String>>);

/// The boxes of this run: all of them in the whole run, else those of every day.
pub fn boxes() -> &'static [&'static str] {
    if is_whole() { &Middlebox::ALL } else { &["nginx", "haproxy", "caddy"] }
}

/// Compares measured rows with those of the recording. `RECORD=1 WHOLE=1` writes them first.
pub fn assert_recorded(part: &str, rows: &[Value], tables: &[Table]) {
    if is_written() {
        let head = [circumstances(rows)];
        let lines = head.iter().chain(rows).map(|row| format!("{row}\n"));
        fs::write(file(part, "jsonl"), lines.collect::<String>()).unwrap();
        fs::write(file(part, "md"), markdown(part, tables)).unwrap();
    }
    let (head, recorded) = read(part);
    for row in rows {
        let was = recorded.iter().find(|was| key(was) == key(row));
        let was = was.unwrap_or_else(|| panic!("no {:?} in boxes-{part}", key(row)));
        assert!(
            is_alike(row, was),
            "the boxes are {}; they were {head}\nnow {row}\nwas {was}\n\
             RECORD=1 WHOLE=1 records them anew",
            circumstances(rows),
        );
    }
    let shown = fs::read_to_string(file(part, "md")).unwrap();
    assert_eq!(shown, markdown(part, tables), "RECORD=1 WHOLE=1 makes it anew");
}

/// Whether this run writes the recordings, instead of comparing with them.
pub fn is_written() -> bool {
    env::var_os("RECORD").is_some() && is_whole()
}

/// Whether two rows are of the same case, and say the same in words and booleans.
pub fn is_alike(row: &Value, was: &Value) -> bool {
    behaviour(row) == behaviour(was)
}

/// The date and the versions, and the rows of a part.
pub fn read(part: &str) -> (Value, Vec<Value>) {
    let file = file(part, "jsonl");
    let text = fs::read_to_string(&file)
        .unwrap_or_else(|_| panic!("RECORD=1 WHOLE=1 writes {file:?}"));
    let mut lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (lines.next().expect("a first line"), lines.collect())
}

/// A time in a form that every language has: whole units, and no separators.
pub fn time(us: u64) -> String {
    match us {
        0..1_000 => "< 1 ms".to_string(),
        1_000..10_000_000 => format!("{} ms", us / 1000),
        _ => format!("{} s", us / 1_000_000),
    }
}

/// A figure of a row.
pub fn number(row: &Value, name: &str) -> u64 {
    row[name].as_u64().unwrap_or_else(|| panic!("no {name} in {row}"))
}

fn file(part: &str, ending: &str) -> PathBuf {
    root().join(format!("tests/recorded/boxes-{part}.{ending}"))
}

/// The box and the configuration of a row, and a third name where a part needs one.
fn key(row: &Value) -> (&str, &str, Option<&str>) {
    let word = |name: &str| row[name].as_str();
    let middlebox = word("box").expect("the name of a box, or none");
    let configuration = word("configuration").expect("a configuration");
    (middlebox, configuration, word("case"))
}

/// A row without its numbers.
fn behaviour(row: &Value) -> Vec<(&String, &Value)> {
    row.as_object().unwrap().iter().filter(|(_, value)| !value.is_number()).collect()
}

/// The day, the system, and the versions of the boxes that were measured.
fn circumstances(rows: &[Value]) -> Value {
    let said = |command: &str, argument: &str| {
        let output = Command::new(command).arg(argument).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_string()
    };
    let measured = |name: &&&str| rows.iter().any(|row| row["box"] == **name);
    let versions = Middlebox::ALL.iter().filter(measured);
    let versions = versions.map(|name| format!("{name} {}", version(name)));
    let versions: Vec<_> = versions.collect();
    let date = said("date", "+%F");
    json!({ "date": date, "system": said("uname", "-sr"), "versions": versions })
}

/// The digits and dots in the line that a box says about its version.
fn version(name: &str) -> String {
    let said = Middlebox::version(name);
    let numbers = said.split(|c: char| !c.is_ascii_digit() && c != '.');
    let number = numbers.into_iter().find(|number| {
        number.starts_with(|c: char| c.is_ascii_digit()) && number.contains('.')
    });
    number.unwrap_or_else(|| panic!("no version in {said:?}")).to_string()
}

/// The Markdown of a part: the line of date and versions, and the rows of each table.
fn markdown(part: &str, tables: &[Table]) -> String {
    let (head, rows) = read(part);
    let versions = head["versions"].as_array().expect("versions").iter();
    let versions: Vec<_> = versions.map(|name| name.as_str().unwrap()).collect();
    let date = head["date"].as_str().expect("a date");
    let system = head["system"].as_str().expect("a system");
    let versions = versions.join(", "); // none, where the rows themselves name them
    let separator = if versions.is_empty() { "" } else { "; " };
    let measured = format!("{versions}{separator}{system}; {date}\n");
    let mut text = anchored("measured", &measured);
    for (name, cells) in tables {
        let line = |row: &Value| {
            let cells = cells(row)?.join(" | ");
            Some(match (*name, key(row)) {
                ("default", ("none", ..)) => format!("| – | {cells} |\n"),
                ("default", (middlebox, ..)) => {
                    format!("| {middlebox} | {cells} |\n")
                }
                (_, ("none", ..)) => format!("| – | – | {cells} |\n"),
                (_, (middlebox, configuration, _)) => {
                    format!("| {middlebox} | `{configuration}` | {cells} |\n")
                }
            })
        };
        text += &anchored(name, &rows.iter().filter_map(line).collect::<String>());
    }
    text
}

fn anchored(name: &str, lines: &str) -> String {
    format!("<!-- ANCHOR: {name} -->\n{lines}<!-- ANCHOR_END: {name} -->\n")
}
