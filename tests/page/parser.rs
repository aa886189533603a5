//! The parser of `stream.js` reads the table of cases.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::Browser;
use tests::cases::{Case, cases};
use tests::scripted::{HEAD, chunked};

use crate::scene::{Answer, Scene, follow, module, nothing_is_wrong};

/// Reads each stream whole, byte by byte, and where it is short, in two pieces, cut at each
/// byte. It returns what is not as it should be.
const READ: &str = r"((parser, streams) => {
  const wrong = [];
  for (const { name, bytes, ...should } of streams) {
    const whole = Uint8Array.from(bytes);
    const all = [[whole], [...whole].map((byte) => Uint8Array.of(byte))];
    for (let at = 0; whole.length < 300 && at <= whole.length; at++) {
      all.push([whole.subarray(0, at), whole.subarray(at)]);
    }
    for (const pieces of all) {
      const is = { events: [], last: '', retry: null };
      const decoder = new TextDecoder();
      const feed = parser(
        (event) => { is.events.push(event); is.last = event.lastEventId; },
        (retry) => { is.retry = retry; },
        (id) => { is.last = id; },
      );
      for (const piece of pieces) feed(decoder.decode(piece, { stream: true }));
      const same = JSON.stringify(is) === JSON.stringify({ ...should });
      if (!same) wrong.push([name, pieces.length, is]);
    }
  }
  return wrong;
})";

fn streams() -> Value {
    let streams = cases().into_iter().map(|case| {
        let Case { name, bytes, events, last, retry } = case;
        let events: Vec<_> = events.iter().map(event).collect();
        // JSON has its own order of names, so they are compared in the module's.
        format!(
            r#"{{"name":{},"bytes":{},"events":[{}],"last":{},"retry":{}}}"#,
            json!(name),
            json!(bytes),
            events.join(","),
            json!(last),
            json!(retry)
        )
    });
    let streams: Vec<_> = streams.collect();
    Value::String(format!("[{}]", streams.join(",")))
}

fn event(event: &Value) -> String {
    let [kind, data, id] = ["type", "data", "lastEventId"].map(|name| &event[name]);
    format!(r#"{{"type":{kind},"data":{data},"lastEventId":{id}}}"#)
}

#[test]
#[ignore = "needs its package: tests/sdk/install"]
fn the_module_reads_every_case_in_node_too() {
    let folder = TempDir::new().unwrap();
    let main = folder.path().join("main.mjs");
    let read = format!("{READ}(parser, JSON.parse({}))", streams());
    let script = format!(
        "import {{ parser }} from './stream.mjs';
        console.log(JSON.stringify({read}));"
    );
    fs::write(folder.path().join("stream.mjs"), module()).unwrap();
    fs::write(&main, script).unwrap();
    let node = Command::new("node").arg(&main).output().expect("Node (nodejs)");
    assert!(node.status.success(), "{}", String::from_utf8_lossy(&node.stderr));
    assert_eq!(String::from_utf8_lossy(&node.stdout).trim(), "[]");
}

/// Each stream ends, so the module waits, and says for how long: for the `retry` of the
/// stream, and up to half of it more.
#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn the_module_reads_every_case_wherever_it_is_cut_and_by_fetch() {
    let scene = Scene::start().await;
    let cases = cases();
    let mut follow = String::new();
    for (n, case) in cases.iter().enumerate() {
        let whole = [format!("{HEAD}\r\n").as_bytes(), &case.bytes].concat();
        let mut forms = vec![("whole", whole)];
        if case.bytes.len() < 1_000 {
            forms.push(("bytes", chunked(&case.bytes, 1)));
        }
        for (form, bytes) in forms {
            let path = format!("/{form}-{n}");
            scene.answers(&path, [Answer::Bytes(bytes.into())]);
            let types = json!(types(&case.bytes));
            follow += &format!("[{}, {types}],", json!(path));
        }
    }
    let listen = format!(
        "(window.heard = {{}}, [{follow}].forEach(([path, types]) => {{
            const events = [];
            const on = Object.fromEntries(types.map((type) => [type, (event) => {{ events.push(event); }}]));
            const one = stream(path, {{ on, fetch: {{}}, silence: 0, retry: 1_000, onState: (state) => {{
                if (state.why !== 'lost') return;
                heard[path] = {{ events, state, last: one.lastEventId }};
                one.close();
            }} }});
        }}), 0)"
    );
    for browser in Browser::both().await {
        scene.open(&browser).await;
        let read = format!("{READ}(parser, JSON.parse({}))", streams());
        assert_eq!(browser.eval(&read).await, json!([]), "{}", browser.name());
        browser.eval(&listen).await;
        let count = follow.matches("],[").count() + 1;
        browser.until(&format!("Object.keys(heard).length === {count}")).await;
        let heard = browser.eval("heard").await;
        for (path, is) in heard.as_object().unwrap() {
            let n: usize = path.rsplit_once('-').unwrap().1.parse().unwrap();
            let Case { name, events, last, retry, .. } = &cases[n];
            assert_eq!(is["events"], json!(events), "{name}, {path}");
            assert_eq!(is["last"], json!(last), "{name}, {path}");
            let least = retry.unwrap_or(1_000).clamp(50, 86_400_000);
            let wait = is["state"]["wait"].as_u64().unwrap();
            assert!(
                (least..=least * 3 / 2).contains(&wait),
                "{name}, {path}: {wait}"
            );
        }
        nothing_is_wrong(&browser).await;
    }
}

/// The types that a stream may have, as the standard takes them from its lines.
fn types(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let fields = text.split(['\r', '\n']).filter_map(|line| line.split_once(':'));
    let types = fields.filter(|(name, _)| name.eq_ignore_ascii_case("event"));
    let types = types.map(|(_, value)| value.strip_prefix(' ').unwrap_or(value));
    types.chain(["message"]).map(String::from).collect()
}

/// If each piece were looked through with all that came before it, these would take an hour.
#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_line_in_tiny_pieces_is_read_in_linear_time_and_does_not_grow_without_end()
{
    let scene = Scene::start().await;
    let long = |line: &str| {
        let body = "x".repeat(1 << 20) + line;
        let body = format!("{HEAD}\r\nid: 1\ndata: a\n\ndata:{}", body.repeat(17));
        Answer::Bytes(body.into_bytes().into())
    };
    scene.answers("/line", [long("")]);
    scene.answers("/lines", [long("\ndata:")]);
    let feed = "(([first, piece, last]) => {
        let length = 0;
        const feed = parser(({ data }) => { length += data.length; });
        feed(first);
        for (let n = 0; n < 200_000; n++) feed(piece);
        feed(last);
        return length;
    })";
    for browser in Browser::both().await {
        scene.open(&browser).await;
        for (pieces, length) in [
            (json!(["data:", "x", "\n\n"]), 200_000),
            (json!([":", "x", "\ndata: a\n\n"]), 1),
            (json!(["", "data:x\n", "\n"]), 399_999),
            (json!(["", "\r", "data: a\n\n"]), 1),
            (json!(["", "data:x\r\r", ""]), 200_000),
        ] {
            let is = browser.eval(&format!("{feed}({pieces})")).await;
            assert_eq!(is, json!(length), "{}: {pieces}", browser.name());
        }
        for path in ["line", "lines"] {
            follow(&browser, "one", path, "{ fetch: {} }").await;
            browser.until("one.stream.state.name === 'refused'").await;
            assert_eq!(browser.eval("one.stream.state.why").await, "event");
            assert_eq!(browser.eval("one.ids").await, json!(["1"]));
        }
        nothing_is_wrong(&browser).await;
    }
}
