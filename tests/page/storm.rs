//! A storm of tabs: they come, lead, crash and go, and their one stream fails all the time.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::fault_proxy::{Asked, FaultProxy, Kind};
use tests::follow::Random;
use tests::{Browser, Run, pause, root, until};
use thirtyfour::WindowHandle;

use crate::trial::{
    Heard, PACE, after, assert_whole, feed, note, only, read_to, table,
};

const PAGE: &str = r#"<!doctype html>
<title>storm</title>
<link rel="icon" href="data:,">
<script type="module" src="/storm.js"></script>
"#;

/// Tabs at a time.
const MOST: usize = 5;
/// How long two tabs may have a connection at the same time.
const MOMENT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Open,
    Close,
    Crash,
    Reload,
    /// The tab goes to another page, and comes back by the way back.
    Leave,
    /// The browser freezes the tab for a while.
    Freeze,
}

const ACTS: [Act; 7] = [
    Act::Open,
    Act::Open, // as often as one goes
    Act::Close,
    Act::Crash,
    Act::Reload,
    Act::Leave,
    Act::Freeze,
];

/// A browser with tabs that share one stream.
struct Storm {
    browser: Browser,
    url: String,
    tabs: Vec<WindowHandle>,
    /// The events of tabs that are gone, each with the ID after which it began.
    gone: Vec<(String, Vec<Heard>)>,
    random: Random,
    acts: BTreeMap<Act, usize>,
    /// Pages that were kept for the way back.
    kept: usize,
}

impl Storm {
    async fn open_tab(&mut self) {
        let tab = self.browser.new_tab().await;
        self.browser.open(&self.url).await;
        self.browser.until("!!window.tab").await;
        self.tabs.push(tab);
    }

    /// The place and the events of the tab in front, which must be without an error.
    async fn look(&self) -> (String, Vec<Heard>) {
        let tab = self.browser.eval("[tab.place, tab.notes, tab.wrong]").await;
        assert_eq!(tab[2], json!([]));
        let place = tab[0].as_str().unwrap().to_string();
        (place, serde_json::from_value(tab[1].clone()).unwrap())
    }

    async fn act(&mut self, act: Act) {
        let act = match act {
            Act::Open if self.tabs.len() == MOST => Act::Close,
            Act::Close | Act::Crash if self.tabs.len() == 1 => Act::Open,
            act => act,
        };
        *self.acts.entry(act).or_default() += 1;
        if act == Act::Open {
            return self.open_tab().await;
        }
        let place = self.random.below(self.tabs.len());
        let tab = self.tabs[place].clone();
        self.browser.to_tab(tab).await;
        let while_away = Duration::from_millis(self.random.below(1_500) as u64);
        if act != Act::Freeze {
            let had = self.look().await;
            self.gone.push(had);
        }
        match act {
            Act::Open => {}
            Act::Close | Act::Crash => {
                self.tabs.remove(place);
                match act {
                    Act::Close => self.browser.close_tab().await,
                    _ => self.browser.crash_tab().await,
                }
                self.browser.to_tab(self.tabs[0].clone()).await;
            }
            Act::Reload => {
                self.browser.eval("(tab.isOld = true, location.reload())").await;
                self.browser.until("!!window.tab && !tab.isOld").await;
            }
            Act::Leave => {
                self.browser.open(&format!("{}away", self.url)).await;
                pause(while_away).await;
                self.browser.back().await;
                self.browser.until("!!window.tab").await;
                let was_kept = self.browser.eval("tab.wasKept").await;
                self.kept += usize::from(was_kept == Value::Bool(true));
            }
            Act::Freeze => {
                let command = "Page.setWebLifecycleState";
                for state in ["frozen", "active"] {
                    let state = json!({ "state": state });
                    self.browser.devtools(command, state).await;
                    pause(while_away).await;
                }
            }
        }
    }
}

/// The longest time in which there were two connections or more.
fn longest_overlap(asked: &[Asked]) -> Duration {
    let end = |one: &Asked| one.to.unwrap_or(u64::MAX);
    let ends = asked.iter().map(|one| (end(one), -1));
    let mut turns: Vec<_> =
        asked.iter().map(|one| (one.from, 1)).chain(ends).collect();
    turns.sort();
    let mut open = 0;
    let mut longest = 0;
    let mut since = None;
    for (when, change) in turns {
        open += change;
        match (open > 1, since) {
            (true, None) => since = Some(when),
            (false, Some(start)) => {
                longest = longest.max(when - start);
                since = None;
            }
            _ => {}
        }
    }
    Duration::from_millis(longest)
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_storm_of_tabs_and_faults_loses_nothing() {
    let run = Run::start();
    let steps = run.size(300, 14);
    let (feed, _folder) = feed().await;
    let client = reqwest::Client::new();
    note(&feed, &client, "the first").await;
    let read = |path| fs::read_to_string(root().join(path)).unwrap();
    let scripts = [
        ("/storm.js", read("tests/pages/storm.js")),
        ("/shared.js", read("examples/page/shared.js")),
        ("/stream.js", read("examples/page/stream.js")),
    ];
    let mut files = vec![("/", "text/html", PAGE), ("/away", "text/html", "away")];
    files.extend(
        scripts.iter().map(|(path, text)| (*path, "text/javascript", &**text)),
    );
    let proxy = FaultProxy::start(&feed, "/events", &files).await;
    // A tab does not know what others have had before it came, so nothing is sent again here;
    // and ends for good have their own tests.
    let kinds: Vec<_> = Kind::ALL
        .into_iter()
        .filter(|kind| !kind.is_final() && *kind != Kind::Repeat)
        .collect();
    proxy.deal(run.seed, &kinds);
    let mut storm = Storm {
        browser: Browser::start().await,
        url: format!("{}/", proxy.url),
        tabs: Vec::new(),
        gone: Vec::new(),
        random: Random(run.seed),
        acts: BTreeMap::new(),
        kept: 0,
    };
    let is_over = Cell::new(false);
    let writing = async {
        let mut posted = 0;
        while !is_over.get() {
            posted += 1;
            note(&feed, &client, &format!("note {posted}")).await;
            pause(PACE).await;
        }
        posted
    };
    let storming = async {
        storm.open_tab().await;
        let mut deck = Vec::new();
        let start = Instant::now();
        for _ in 0..steps {
            if deck.is_empty() {
                deck.extend_from_slice(&ACTS);
            }
            let act = deck.swap_remove(storm.random.below(deck.len()));
            eprintln!("{:?}: {act:?}, {} tabs", start.elapsed(), storm.tabs.len());
            storm.act(act).await;
            let quiet = storm.random.below(400) as u64;
            pause(Duration::from_millis(quiet)).await;
        }
        let all = || std::future::ready(proxy.counts().len() == kinds.len());
        until("a fault of each kind", all).await;
        is_over.set(true);
    };
    let (posted, ()) = tokio::join!(writing, storming);
    let faults = table(&proxy.counts());
    proxy.pass();
    note(&feed, &client, "the end").await;
    let log = read_to(&mut feed.events("/events?from=start").await, "the end").await;
    assert_eq!(only(&log, &["note"]).len(), posted + 2);
    for (number, tab) in storm.tabs.iter().enumerate() {
        storm.browser.to_tab(tab.clone()).await;
        storm
            .browser
            .until("tab.notes.some(([, , text]) => text == 'the end')")
            .await;
        let (place, came) = storm.look().await;
        assert_whole(
            &format!("tab {number}"),
            &came,
            &after(&log, &place, &["note"]),
        );
    }
    for (place, came) in &storm.gone {
        if place.is_empty() {
            assert!(came.is_empty(), "{came:?}"); // it was gone before it had a place
            continue;
        }
        let mut rest = after(&log, place, &["note"]);
        rest.truncate(came.len());
        assert_whole("a tab that is gone", came, &rest);
    }
    let open = |asked: &[Asked]| asked.iter().filter(|one| one.to.is_none()).count();
    let one = || std::future::ready(open(&proxy.asked()) == 1);
    until("one connection for all tabs", one).await;
    let overlap = longest_overlap(&proxy.asked());
    let version = storm.browser.version();
    let mut what = format!(
        "Chromium {version}: {steps} steps of tabs, {posted} events, {} connections, \
         more than one for {overlap:?} at most\n{faults}\n",
        proxy.asked().len()
    );
    for (act, count) in &storm.acts {
        writeln!(what, "  {count:>4} {act:?}").unwrap();
    }
    write!(what, "{} pages kept for the way back", storm.kept).unwrap();
    eprintln!("{what}");
    assert!(storm.kept > 0, "no page was kept");
    assert!(overlap < MOMENT, "two connections for {overlap:?}");
    run.done("page-storm", &what, &[]);
}
