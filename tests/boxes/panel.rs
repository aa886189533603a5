//! The page of `boxes`: what it shows of a box that runs here, and of one that does not.

use std::env;
use std::process::Command;

use serde_json::{Value, json};
use tests::{Middlebox, Program, assert_recorded, root};

/// The boxes that `.ci/run` starts.
const FEW: [&str; 3] = ["nginx", "haproxy", "caddy"];

/// The program, with the boxes that `tests/boxes/install` unpacks.
async fn start() -> Program {
    let folder = root().join("target/boxes");
    Program::start_with("boxes", &[("BOXES", folder.to_str().unwrap())]).await
}

/// The lines of a run.
async fn run(boxes: &Program, query: &str) -> Vec<Value> {
    let mut events = boxes.events(&format!("/run?{query}")).await;
    let mut lines = Vec::new();
    while let Some(event) = events.next().await {
        lines.push(serde_json::from_str(&event.data).unwrap());
    }
    lines
}

/// The fates of the events of a run, in words that are the same each time.
fn seen(lines: &[Value]) -> String {
    let pieces: Vec<usize> = lines
        .iter()
        .filter_map(|line| Some(line["got"].as_array()?.len()))
        .filter(|count| *count > 0)
        .collect();
    let count: usize = pieces.iter().sum();
    let bunched: usize = pieces.iter().filter(|count| **count > 2).sum();
    let how = match pieces.len() {
        0 => "never",
        1 if count > 1 => "at once",
        _ if bunched > count / 2 => "in bursts",
        _ => "one by one",
    };
    let last = lines.iter().any(|line| line["last"] == true);
    let end = &lines.last().unwrap()["end"];
    format!("{count} events {how}, the last one: {last}, end: {end}")
}

/// The runs of a box that the page can show: the names of each, and its query.
fn choices(name: &str) -> Vec<(Value, String)> {
    let mut all = Vec::new();
    for configuration in ["default", "right"] {
        for (header, silence) in [(false, false), (true, false), (false, true)] {
            let yes = |is: bool| if is { "yes" } else { "no" };
            let query = format!(
                "box={name}&configuration={configuration}&header={}&silence={}",
                yes(header),
                yes(silence)
            );
            let names = json!({
                "box": name, "configuration": configuration,
                "header": header, "silence": silence,
            });
            all.push((names, query));
        }
    }
    all
}

/// The recorded lines of the run with these names.
fn recorded(text: &str, names: &Value) -> Vec<Value> {
    let is_first = |line: &Value| !line["box"].is_null();
    let is_this = |line: &Value| {
        names.as_object().unwrap().iter().all(|(name, is)| &line[name] == is)
    };
    let lines =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut lines = lines.skip_while(|line| !is_this(line));
    let first = lines.next().unwrap_or_else(|| panic!("RECORD=1 makes {names}"));
    [first].into_iter().chain(lines.take_while(|line| !is_first(line))).collect()
}

/// `RECORD=1` runs all boxes, `WHOLE=1` compares all, and else these are a few.
#[tokio::test]
#[ignore = "needs proxies: tests/boxes/install"]
async fn each_recording_tells_what_the_box_does() {
    let records = env::var_os("RECORD").is_some();
    let is_whole = records || env::var("WHOLE").is_ok_and(|whole| whole == "1");
    let names = if is_whole { &Middlebox::ALL[..] } else { &FEW[..] };
    let today = Command::new("date").args(["-u", "+%F"]).output().unwrap().stdout;
    let today = String::from_utf8(today).unwrap();
    let boxes = start().await;
    for name in names {
        let file = format!("boxes/recorded/{name}.jsonl");
        let mut text = String::new();
        for (names, query) in choices(name) {
            let mut lines = run(&boxes, &query).await;
            assert!(lines[0]["why"].is_null(), "{}", lines[0]);
            lines[0]["date"] = json!(today.trim());
            if records {
                text.extend(lines.iter().map(|line| format!("{line}\n")));
                continue;
            }
            let kept = std::fs::read_to_string(root().join("examples").join(&file))
                .unwrap();
            assert_eq!(seen(&lines), seen(&recorded(&kept, &names)), "{query}");
        }
        if records {
            assert_recorded(&file, &text);
        }
    }
}
