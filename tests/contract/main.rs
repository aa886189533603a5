//! The promises that every program of the book keeps, whatever it teaches. The row of a
//! program gives the requests with which each promise is tested, or the reason why the
//! program is exempt. `cargo test -p tests --test contract chat` runs the tests of one row.

mod promises;
mod silence;
mod streams;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use streams::Act::{Generates, Stores, Waits};
use streams::Stream::{self, Answer, Completion, Get, Job, Put};
use tests::root;

/// Makes of a promise in a row a test, or nothing where the program is exempt.
macro_rules! promise {
    (exempt ($why:literal) $promise:ident) => {
        const _: () = assert!(!$why.is_empty(), "an exemption has a reason");
    };
    (kept ($($is:expr),*) $promise:ident) => {
        #[tokio::test]
        async fn $promise() {
            promises::$promise(NAME $(, $is)*).await;
        }
    };
}

/// The stream of a row that has to be filled with comments, and the text it begins with.
macro_rules! silence {
    (exempt $why:tt) => {
        None
    };
    (kept ($stream:expr, $begin:expr)) => {
        Some(($stream, $begin))
    };
}

/// Makes of each row a module, with a test for each promise that the program keeps.
macro_rules! programs {
    ($(
        $name:ident {
            address: $address:tt $address_is:tt
            head: $head:tt $head_is:tt
            method_head: $method_head:tt $method_head_is:tt
            silence: $silence:tt $silence_is:tt
            refusals: $refusals:tt $refusals_are:tt
            page: $page:tt $page_is:tt
            stop: $stop:tt $stop_is:tt
        }
    )*) => {
        $(mod $name {
            #[allow(unused_imports)] // by a row that is exempt from much
            use super::*;
            const NAME: &str = stringify!($name);
            promise!($address $address_is a_taken_or_bad_address_is_one_clear_line);
            promise!($head $head_is
                the_head_names_a_stream_and_forbids_to_keep_it_back);
            promise!($method_head $method_head_is
                head_is_answered_as_get_is_without_a_body);
            promise!($silence $silence_is silence_is_filled_with_comments);
            promise!($refusals $refusals_are other_paths_and_methods_get_a_reason);
            promise!($page $page_is the_page_asks_for_a_relative_address);
            #[cfg(unix)]
            promise!($stop $stop_is
                asked_to_end_it_ends_its_streams_whole_and_then_itself);
        })*
        const ROWS: &[&str] = &[$(stringify!($name)),*];
        const SILENCES: &[Option<(Stream, &str)>] = &[$(silence!($silence $silence_is)),*];
    };
}

programs! {
    hello {
        address: kept()
        head: kept(Get("/"))
        method_head: kept(&[], Get("/"))
        silence: exempt("an event comes each second, which is the heartbeat, too")
        refusals: exempt("it is tiny, and answers in plain text: `tests/hello` says how")
        page: exempt("it has no page")
        stop: exempt("signals are the system's: `chat` adds a clean stop")
    }
    tick {
        address: kept()
        head: kept(Get("/ticks"))
        method_head: kept(&["/"], Get("/ticks"))
        silence: exempt("an event comes each second, which is the heartbeat, too")
        refusals: kept(&[
            ("GET", "/nope", 404, None, "not be found"),
            ("POST", "/ticks", 405, Some("GET, HEAD"), "not supported"),
        ])
        page: kept(&["new EventSource('ticks')"])
        stop: exempt("signals are the system's: `chat` adds a clean stop")
    }
    wire {
        address: kept()
        head: kept(Put("/wire/a", "data: a\n\n"))
        method_head: kept(&["/"], Put("/wire/a", "data: a\n\n"))
        silence: exempt("its bytes are as asked")
        refusals: kept(&[
            ("GET", "/nope", 404, None, "not be found"),
            ("GET", "/wire", 404, None, "not be found"),
            ("GET", "/wire/b", 404, None, "nothing was put here"),
            ("GET", "/parse", 405, Some("POST"), "not supported"),
            ("POST", "/", 405, Some("GET, HEAD"), "not supported"),
            ("POST", "/wire/a", 405, Some("GET, HEAD, PUT"), "not supported"),
        ])
        page: kept(&["const url = `wire/"])
        stop: exempt("its streams are as asked, and so is their end")
    }
    faults {
        address: kept()
        head: kept(Get("/faults/good"))
        method_head: kept(&["/"], Get("/faults/good"))
        silence: exempt("its bytes are as asked")
        refusals: kept(&[
            ("GET", "/nope", 404, None, "not be found"),
            ("GET", "/faults/bad", 404, None, "the faults are: good, refuse,"),
            ("GET", "/streams/a", 404, None, "nothing was put here"),
            ("POST", "/", 405, Some("GET, HEAD"), "not supported"),
            ("POST", "/faults/good", 405, Some("GET, HEAD"), "not supported"),
            ("POST", "/streams/a", 405, Some("GET, HEAD, PUT"), "not supported"),
        ])
        page: kept(&["new EventSource('faults/good')"])
        stop: exempt("its streams are as asked, and so is their end")
    }
    chat {
        address: kept()
        head: kept(Get("/chat"))
        method_head: kept(&["/", "/stream.js"], Get("/chat"))
        silence: kept(Get("/chat"), "event: user\n")
        refusals: kept(&[
            ("GET", "/nope", 404, None, "not be found"),
            ("POST", "/", 405, Some("GET, HEAD"), "not supported"),
            ("PUT", "/chat", 405, Some("GET, HEAD"), "not supported"),
            ("GET", "/chat/1", 405, Some("POST"), "not supported"),
        ])
        page: kept(&["from './stream.js'", "stream(`chat?as="])
        stop: kept(Get("/chat"), Waits, "event: name\n", streams::only_joined)
    }
    llm {
        address: kept()
        head: kept(Answer)
        method_head: kept(&["/", "/stream.js"], Answer)
        silence: kept(Answer, "retry: 1000\n")
        refusals: kept(&[
            ("GET", "/nope", 404, None, "not be found"),
            ("GET", "/answers/x", 404, None, "no such answer"),
            ("POST", "/", 405, Some("GET, HEAD"), "not supported"),
            ("GET", "/answers", 405, Some("POST"), "not supported"),
            ("PUT", "/answers/1", 405, Some("DELETE, GET, HEAD"), "not supported"),
        ])
        page: kept(&["from './stream.js'", "stream(`answers/"])
        stop: kept(Answer, Generates, "event: token\n", streams::says_that_it_stops)
    }
    model {
        address: kept()
        head: kept(Completion)
        method_head: kept(&["/"], Get("/v1/models"))
        silence: exempt("it is never silent: tokens come at a human pace")
        refusals: kept(&[
            ("GET", "/nope", 404, None, "there is no such path"),
            ("POST", "/v1/completions", 404, None, "there is no such path"),
            ("POST", "/", 405, Some("GET, HEAD"), "another method"),
            ("POST", "/v1/models", 405, Some("GET, HEAD"), "another method"),
            ("GET", "/v1/chat/completions", 405, Some("POST"), "another method"),
            ("DELETE", "/v1/chat/completions", 405, Some("POST"), "another method"),
        ])
        page: kept(&["A stand-in for a language model.", "knows nothing"])
        stop: kept(Completion, Waits, "data: {", streams::whole_chunks)
    }
    progress {
        address: kept()
        head: kept(Job("1000"))
        method_head: kept(&["/"], Job("20000"))
        silence: kept(Job("40000"), "event: progress\n")
        refusals: kept(&[
            ("GET", "/nope", 404, None, "not be found"),
            ("GET", "/jobs/x", 404, None, "no such job"),
            ("POST", "/", 405, Some("GET, HEAD"), "not supported"),
            ("GET", "/jobs", 405, Some("POST"), "not supported"),
            ("PUT", "/jobs/1", 405, Some("DELETE, GET, HEAD"), "not supported"),
        ])
        page: kept(&["new EventSource(`jobs/"])
        stop: kept(Job("40000"), Waits, "event: progress\n", streams::says_that_it_is_cancelled)
    }
    feed {
        address: kept()
        head: kept(Get("/events"))
        method_head: kept(&["/", "/stream.js"], Get("/events"))
        silence: kept(Get("/events"), "event: begin\ndata:\nid: 0-0\nretry: 1000\n\n")
        refusals: kept(&[
            ("GET", "/nope", 404, None, "not be found"),
            ("POST", "/", 405, Some("GET, HEAD"), "not supported"),
            ("PUT", "/events", 405, Some("GET, HEAD, POST"), "not supported"),
            ("POST", "/events/1-0", 405, Some("GET, HEAD"), "not supported"),
            ("GET", "/readers/1", 405, Some("DELETE"), "not supported"),
            ("GET", "/events/1-0", 404, None, ""),
            ("GET", "/events/x", 404, None, ""),
            ("GET", "/events?from=x", 400, None, ""),
            ("GET", "/events?reader=x", 400, None, ""),
            ("GET", "/events?x=1-0", 400, None, "no parameter `x`"),
            ("DELETE", "/readers/x", 404, None, ""),
        ])
        page: kept(&["from './stream.js'", "stream(`events?reader="])
        stop: kept(Get("/events?from=start"), Stores, "data: the end\n", streams::whole_events)
    }
    page {
        address: kept()
        head: kept(Get("/events?line=a"))
        method_head: kept(&["/"], Get("/events?line=a"))
        silence: exempt("a number comes each fifth of a second: `tests/page` delays them")
        refusals: kept(&[
            ("GET", "/nope", 404, None, "not be found"),
            ("GET", "/events", 400, None, "`line` has to have"),
            ("GET", "/events?line=a&x=1", 400, None, "no parameter `x`"),
            ("POST", "/", 405, Some("GET, HEAD"), "not supported"),
            ("POST", "/events", 405, Some("GET, HEAD"), "not supported"),
            ("GET", "/lines/a/kill", 405, Some("POST"), "not supported"),
            ("POST", "/lines/a/kill", 404, None, "nobody listens"),
        ])
        page: kept(&["share(`events?line="])
        stop: kept(Get("/events?line=a"), Waits, "event: number\n", streams::whole_events)
    }
    boxes {
        address: kept()
        head: kept(Get("/events"))
        method_head: kept(&["/", "/run"], Get("/events"))
        silence: kept(Get("/events?every=60000"), "data: 1 ")
        refusals: kept(&[
            ("GET", "/nope", 404, None, "not be found"),
            ("GET", "/events?x=1", 400, None, "no parameter `x`"),
            ("GET", "/events?every=0", 400, None, "`every` is 1 to 3600000"),
            ("GET", "/events?header=on", 400, None, "`header` is yes or no"),
            ("GET", "/run?box=squid", 400, None, "the boxes are: none, nginx,"),
            ("POST", "/", 405, Some("GET, HEAD"), "not supported"),
            ("POST", "/events", 405, Some("GET, HEAD"), "not supported"),
            ("POST", "/run", 405, Some("GET, HEAD"), "not supported"),
        ])
        page: kept(&["new EventSource(`run?"])
        stop: kept(Get("/events?every=60000"), Waits, "data: 1 ", streams::whole_events)
    }
}

/// The reason why the smallest cures are exempt.
const SMALL: &str =
    "it has 40 lines for one thing: `tests/cures` has what it promises";

/// The reason why the programs about waiting are exempt.
const NO_SERVER: &str = "it is no server: it prints, and ends";

/// Programs that keep none of these promises.
const EXEMPT: &[(&str, &str)] = &[
    ("chat_naive", "it is wrong on purpose"),
    ("client", "it is no server"),
    ("client_first", "it is no server, and wrong on purpose"),
    ("cure_cookie", SMALL),
    ("cure_cors", SMALL),
    ("cure_end", SMALL),
    ("cure_heartbeat", SMALL),
    ("cure_job", SMALL),
    ("cure_json", SMALL),
    ("cure_lagged", SMALL),
    ("cure_letters", "it is no server"),
    ("cure_relay", SMALL),
    ("cure_log", SMALL),
    ("cure_ring", SMALL),
    ("cure_room", SMALL),
    ("feed_naive", "it is wrong on purpose"),
    ("feed_small", "a reader writes it: `tests/feed/small.rs` has what it promises"),
    ("llm_small", "a chapter builds it: `tests/llm/small.rs` has its tests"),
    ("wait_await", NO_SERVER),
    ("wait_block", NO_SERVER),
    ("wait_borrow", NO_SERVER),
    ("wait_channel", NO_SERVER),
    ("wait_drop", NO_SERVER),
    ("wait_guard", NO_SERVER),
    ("wait_half", NO_SERVER),
    ("wait_held", NO_SERVER),
    ("wait_lost", NO_SERVER),
    ("wait_notify", NO_SERVER),
    ("wait_select", NO_SERVER),
    ("wait_spawn", NO_SERVER),
    ("wait_stuck", "it is no server, and never ends: that is what it shows"),
    ("wait_unfold", NO_SERVER),
    ("wait_watch", NO_SERVER),
];

/// The names of the examples in a folder of `examples/`.
fn examples(folder: &Path) -> Vec<String> {
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let examples = manifest["example"].as_array().unwrap().iter();
    examples.map(|example| example["name"].as_str().unwrap().to_string()).collect()
}

#[test]
fn every_program_has_a_row() {
    let mut rows: BTreeSet<_> = ROWS.iter().copied().collect();
    assert_eq!(rows.len(), ROWS.len(), "two rows have one name");
    rows.extend(EXEMPT.iter().map(|(name, _)| *name));
    let mut found = BTreeSet::new();
    for folder in fs::read_dir(root().join("examples")).unwrap() {
        let folder = folder.unwrap().path();
        for name in examples(&folder) {
            assert!(
                rows.contains(&*name),
                "tests/contract/main.rs has no row for {name} of {folder:?}"
            );
            found.insert(name);
        }
    }
    for row in rows {
        assert!(found.contains(row), "no folder of examples/ has {row}");
    }
}
