//! How late events come behind each box: `tests/recorded/boxes-delays.*`.

use serde_json::{Value, json};
use tests::{Middlebox, is_whole};

use crate::measure::{Look, Probe, delivery, look_again, probes, warm};
use crate::record::{self, number, time};

/// A box with a configuration of its folder.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    configuration: &'static str,
    /// One line more: the text in front of its place, and the line.
    added: Option<(&'static str, &'static str)>,
}

/// One step away from a default, to see which line it is that cures.
const STEPS: [Case; 2] = [
    Case {
        name: "nginx",
        configuration: "default",
        added: Some((
            "proxy_pass http://127.0.0.1:8698;",
            "proxy_http_version 1.1;",
        )),
    },
    Case {
        name: "haproxy",
        configuration: "default",
        added: Some(("mode http", "option http-no-delay")),
    },
];

fn cases(name: &'static str) -> Vec<Case> {
    let case = |configuration| Case { name, configuration, added: None };
    let steps = STEPS.iter().filter(|step| step.name == name);
    let mut cases = vec![case("default")];
    cases.extend(steps);
    cases.push(case("right"));
    cases
}

impl Case {
    fn title(&self) -> String {
        match self.added {
            Some((_, line)) => format!("{} + {line}", self.configuration),
            None => self.configuration.to_string(),
        }
    }

    async fn start(&self, server: &str) -> Middlebox {
        Middlebox::start_changed(self.name, self.configuration, server, |text| {
            let Some((place, line)) = self.added else { return text };
            assert!(text.contains(place), "{text}");
            text.replace(place, &format!("{place}\n{line}"))
        })
        .await
    }
}

/// Streams that are read at the same time.
struct Streams {
    small: Look,
    /// The same with the header `X-Accel-Buffering: no`.
    header: Look,
    /// A head, and two events of 10,000 bytes, with silence in front of each.
    large: Look,
}

impl Streams {
    async fn look(url: &str) -> Self {
        let events = if is_whole() { 60 } else { 12 };
        let small = Probe { events, ..Probe::SMALL };
        let header = Probe { header: true, ..small };
        let every = small.every * events / 2;
        let large = Probe { events: 2, every, bytes: 10_000, ..small };
        let (small, header, large) =
            tokio::join!(small.look(url), header.look(url), large.look(url));
        Self { small, header, large }
    }

    fn row(&self, case: &Case) -> Value {
        let large = &self.large.events;
        json!({
            "box": case.name,
            "configuration": case.title(),
            "delivery": delivery(&self.small),
            "delivery_with_header": delivery(&self.header),
            "head_comes_alone": self.large.head_us < large[0].sent_us,
            "large_event_comes_alone": large[0].came_us < large[1].sent_us,
            "length_is_known": !self.small.is_chunked,
            "events": self.small.events.len(),
            "head_us": self.large.head_us,
            "p50_us": self.small.p50_us(),
            "max_us": self.small.max_us().max(self.header.max_us()),
            "together": self.small.together(),
            "p50_with_header_us": self.header.p50_us(),
            "large_us": large[0].delay_us(),
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs proxies: tests/boxes/install"]
async fn events_come_through_each_box_as_late_as_recorded() {
    let server = probes().await;
    let look = async |case: Case, url: &str| {
        look_again("delays", async || Streams::look(url).await.row(&case)).await
    };
    let none = Case { name: "none", configuration: "default", added: None };
    let mut rows = vec![look(none, &server).await];
    for case in record::boxes().iter().flat_map(|name| cases(name)) {
        let middlebox = case.start(&server).await;
        warm(&middlebox.url).await;
        rows.push(look(case, &middlebox.url).await);
    }
    for row in rows.iter().filter(|row| row["configuration"] == "right") {
        assert_eq!(row["delivery"], "at once", "{row}");
        assert_eq!(row["large_event_comes_alone"], true, "{row}");
    }
    let tables = [("default", defaults as _), ("all", figures as _)];
    record::assert_recorded("delays", &rows, &tables);
}

/// The table of the defaults, which has no room for the largest delay.
fn defaults(row: &Value) -> Option<Vec<String>> {
    let mut cells = figures(row)?;
    cells.remove(1);
    (row["configuration"] == "default").then_some(cells)
}

fn figures(row: &Value) -> Option<Vec<String>> {
    let us = |name: &str| time(number(row, name));
    let alone = |is_alone: &str, name: &str| match row[is_alone].as_bool() {
        Some(true) => us(name),
        _ => "–".to_string(),
    };
    Some(vec![
        us("p50_us"),
        us("max_us"),
        number(row, "together").to_string(),
        alone("head_comes_alone", "head_us"),
        alone("large_event_comes_alone", "large_us"),
        us("p50_with_header_us"),
    ])
}
