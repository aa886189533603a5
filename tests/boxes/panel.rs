//! The page of `boxes`: what it shows of a box that runs here, and of one that does not.

use std::env;
use std::fs;
use std::process::Command;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Browser, Middlebox, Program, assert_recorded, is_whole, root, until};

/// The boxes that `.ci/run` starts.
const FEW: [&str; 3] = ["nginx", "haproxy", "caddy"];
const VERDICT: &str = "document.querySelector('#verdict').textContent";
const SOURCE: &str = "document.querySelector('#source').textContent";

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
    let switches =
        [&[][..], &["header"], &["silence"], &["gzip"], &["header", "gzip"]];
    let mut all = Vec::new();
    for configuration in ["default", "right"] {
        for on in switches {
            let mut names = json!({ "box": name, "configuration": configuration });
            let mut query = format!("box={name}&configuration={configuration}");
            for switch in ["header", "silence", "gzip"] {
                let is_on = on.contains(&switch);
                names[switch] = json!(is_on);
                query += &format!("&{switch}={}", if is_on { "yes" } else { "no" });
            }
            all.push((names, query));
        }
    }
    all
}

/// The recorded lines of the run with these names. Only nginx looks at the header, which this
/// test shows, so there is one recording for both of the others' runs.
fn recorded(text: &str, names: &Value) -> Vec<Value> {
    let is_first = |line: &Value| !line["box"].is_null();
    let is_this = |line: &Value| {
        let mut names = names.as_object().unwrap().iter();
        names.all(|(name, is)| {
            &line[name] == is || name == "header" && line["box"] != "nginx"
        })
    };
    let lines =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut lines = lines.skip_while(|line| !is_first(line) || !is_this(line));
    let first = lines.next().unwrap_or_else(|| panic!("RECORD=1 makes {names}"));
    [first].into_iter().chain(lines.take_while(|line| !is_first(line))).collect()
}

/// `RECORD=1` runs all boxes, one after the other, `WHOLE=1` compares all, and else these are
/// a few runs of a few boxes.
#[tokio::test]
#[ignore = "needs proxies: tests/boxes/install"]
async fn each_recording_tells_what_the_box_does() {
    let boxes = start().await;
    if env::var_os("RECORD").is_some() {
        for name in Middlebox::ALL {
            record(&boxes, name).await;
        }
        return;
    }
    let names = if is_whole() { &Middlebox::ALL[..] } else { &FEW[..] };
    // The program lets four runs be at once.
    for names in names.chunks(4) {
        join_all(names.iter().map(|name| compare(&boxes, name))).await;
    }
}

/// Delays are taken one after the other, and silence beside each other.
async fn record(boxes: &Program, name: &str) {
    let today = Command::new("date").args(["-u", "+%F"]).output().unwrap().stdout;
    let today = String::from_utf8(today).unwrap();
    let all = choices(name).into_iter();
    let (silent, busy): (Vec<_>, Vec<_>) = all
        .filter(|(names, _)| name == "nginx" || names["header"] == false)
        .partition(|(names, _)| names["silence"] == true);
    let mut runs = Vec::new();
    for (_, query) in busy {
        runs.push(run(boxes, &query).await);
    }
    runs.extend(join_all(silent.iter().map(|(_, query)| run(boxes, query))).await);
    let mut text = String::new();
    for mut lines in runs {
        assert!(lines[0]["why"].is_null(), "{}", lines[0]);
        lines[0]["date"] = json!(today.trim());
        text.extend(lines.iter().map(|line| format!("{line}\n")));
    }
    assert_recorded(&format!("boxes/recorded/{name}.jsonl"), &text);
}

async fn compare(boxes: &Program, name: &str) {
    let file = root().join(format!("examples/boxes/recorded/{name}.jsonl"));
    let kept = fs::read_to_string(file).unwrap();
    for (names, query) in choices(name) {
        let is_right = names["configuration"] == "right";
        let is_special = names["silence"] == true || names["gzip"] == true;
        let has_header = names["header"] == true && name != "nginx";
        if !is_whole() && (is_right && is_special || has_header) {
            continue;
        }
        let kept = seen(&recorded(&kept, &names));
        // On a busy machine, events come together now and then.
        until(&format!("{query}: {kept}"), async || {
            let lines = run(boxes, &query).await;
            assert!(lines[0]["why"].is_null(), "{}", lines[0]);
            seen(&lines) == kept
        })
        .await;
    }
}

/// Chooses on the page, and waits until it says this of a run that is over.
async fn choose(browser: &Browser, what: &str, verdict: &str) {
    browser.eval(&format!("document.querySelector('{what}').click()")).await;
    let says = format!("{VERDICT}.startsWith({verdict:?})");
    until(&format!("{what} in {}: {verdict}", browser.name()), async || {
        browser.until("Boolean(run.end)").await;
        if browser.eval(&says).await == true {
            return true;
        }
        // On a busy machine, events come together now and then.
        browser.eval("document.querySelector('button').click()").await;
        false
    })
    .await;
}

async fn source(browser: &Browser) -> String {
    browser.eval(SOURCE).await.as_str().unwrap().to_string()
}

#[tokio::test]
#[ignore = "needs proxies: tests/boxes/install, chromedriver, firefox-esr"]
async fn a_reader_chooses_a_box_and_sees_events_late_in_bursts_cut_or_at_once() {
    let boxes = start().await;
    join_all(Browser::both().await.map(|browser| choose_boxes(browser, &boxes)))
        .await;
}

async fn choose_boxes(browser: Browser, boxes: &Program) {
    browser.open(&boxes.url).await;
    choose(&browser, "[value=none]", "Each event came within ").await;
    assert_eq!(source(&browser).await, "No box: you read from the server.");
    choose(&browser, "[value=nginx]", "All 60 events came at once").await;
    let here = source(&browser).await;
    assert!(here.starts_with("nginx 1.") && here.ends_with(" runs here."), "{here}");
    choose(&browser, "[name=header]", "Each event came within ").await;
    choose(&browser, "[value=haproxy]", "The events came in bursts of ").await;
    choose(&browser, "[value=right]", "Each event came within ").await;
    choose(&browser, "[name=silence]", "The box cut the silent stream after 5")
        .await;
    choose(&browser, "[name=silence]", "Each event came within ").await;
    choose(&browser, "[value=caddy]", "Each event came within ").await;
    choose(&browser, "[name=gzip]", "All 60 events came at once").await;
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn without_a_box_a_reader_sees_a_recording_and_is_told_so() {
    let boxes = Program::start_with("boxes", &[("BOXES", "")]).await;
    join_all(Browser::both().await.map(|browser| see_recordings(browser, &boxes)))
        .await;
}

async fn see_recordings(browser: Browser, boxes: &Program) {
    browser.open(&boxes.url).await;
    choose(&browser, "[value=nginx]", "All 60 events came at once").await;
    let there = source(&browser).await;
    assert!(there.starts_with("A recording: nginx 1."), "{there}");
    assert!(there.ends_with("Here, it is not installed."), "{there}");
    choose(&browser, "[value=right]", "Each event came within ").await;
    choose(&browser, "[value=varnish]", "Each event came within ").await;
    assert!(source(&browser).await.starts_with("A recording: varnish 7."));
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_page_speaks_italian_and_fits_a_phone() {
    let boxes = Program::start_with("boxes", &[("BOXES", "")]).await;
    let browser = Browser::start().await;
    browser.resize(360, 700).await;
    browser.open(&format!("{}/?lang=it", boxes.url)).await;
    choose(&browser, "[value=lighttpd]", "Tutti i 60 eventi sono arrivati").await;
    assert!(source(&browser).await.starts_with("Una registrazione: lighttpd 1."));
    let fits = "document.documentElement.scrollWidth <= innerWidth";
    assert_eq!(browser.eval(fits).await, true);
}

/// The processes of a process's group, by the system's own list.
fn group(of: i32) -> Vec<i32> {
    let stat = |id: i32| fs::read_to_string(format!("/proc/{id}/stat")).ok();
    let ids = fs::read_dir("/proc").unwrap().flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // Behind the name: the state, the parent, the group.
    let group = |id| {
        let stat = stat(id)?;
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut words = rest.split(' ');
        let is_dead = words.next()? == "Z";
        (!is_dead && words.nth(1)? == of.to_string()).then_some(id)
    };
    ids.filter_map(group).collect()
}

/// The processes that the program has started: the shell of a box.
fn children(boxes: &Program) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{}/task", boxes.id())).unwrap();
    let of_one = |task: fs::DirEntry| {
        fs::read_to_string(task.path().join("children")).unwrap_or_default()
    };
    let ids: String = tasks.flatten().map(of_one).collect();
    ids.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

/// The group of the box that the program has started: the shell, and nginx's processes.
async fn group_of_the_box(boxes: &Program) -> i32 {
    until("a box runs", async || {
        children(boxes).first().is_some_and(|id| group(*id).len() > 2)
    })
    .await;
    children(boxes)[0]
}

#[cfg(target_os = "linux")]
#[tokio::test]
#[ignore = "needs nginx"]
async fn a_box_ends_when_its_reader_leaves_and_when_the_program_is_killed() {
    let mut boxes = start().await;
    let mut silent = boxes.events("/run?box=nginx&silence=yes").await;
    silent.next().await.expect("the first line");
    let group_id = group_of_the_box(&boxes).await;
    drop(silent);
    until("nginx is gone", async || group(group_id).is_empty()).await;

    let mut silent = boxes.events("/run?box=nginx&silence=yes").await;
    silent.next().await.expect("the first line");
    let group_id = group_of_the_box(&boxes).await;
    boxes.stop(); // with SIGKILL
    until("nginx is gone", async || group(group_id).is_empty()).await;
}

#[tokio::test]
async fn four_runs_are_at_once_and_a_page_of_another_origin_starts_none() {
    let boxes = Program::start("boxes").await;
    let path = "/run?box=none&silence=yes";
    let foreign = boxes.request("GET", path).header("origin", "http://evil.example");
    assert_eq!(boxes.send(foreign).await.status(), 403);
    let mut four = Vec::new();
    for _ in 0..4 {
        four.push(boxes.events(path).await);
    }
    let fifth = boxes.get(path).await;
    assert_eq!(fifth.status(), 503);
    four.pop();
    until("there is room again", async || boxes.get(path).await.status() == 200)
        .await;
}
