//! The configurations of `examples/boxes`: each is clean, each *right* one does what its
//! comments say, and each of its lines is missed where it is left out.

use futures_util::{StreamExt, stream};
use tests::{Middlebox, allow_open_files};

use crate::record::boxes;
use crate::seen::{LOOKS, Server, look};

/// The limits of time that a look is about are some seconds, so that a test waits no minute.
/// And a site's own lines stand before those of a look by fetch: Varnish compresses there.
fn hasty(at: &str, text: String) -> String {
    match at {
        "by fetch" => {
            text.replace("\nsub vcl_recv", &format!("{GZIP}\nsub vcl_recv"))
        }
        "silence" => text
            .replace("60s", "2s")
            .replace(" 60\n", " 2\n")
            .replace("=> 60,", "=> 2,")
            .replace("60000", "2000"),
        "reload" => text.replace("10m", "4s"),
        _ => text,
    }
}

/// The lines of a right configuration that are more than its default's, but for comments.
fn lines(name: &str) -> Vec<String> {
    let of = |configuration| {
        let text = Middlebox::text(name, configuration);
        let code = |line: &str| line.split(" #").next().unwrap().trim().to_string();
        text.lines().map(code).collect::<Vec<_>>()
    };
    let default = of("default");
    let mut lines = of("right");
    lines.retain(|line| {
        !line.is_empty() && !line.starts_with('#') && !default.contains(line)
    });
    lines
}

/// Leaves out a line.
fn without(text: &str, line: &str) -> String {
    let is_it = |other: &&str| other.split(" #").next().unwrap().trim() == line;
    text.lines().filter(|other| !is_it(other)).collect::<Vec<_>>().join("\n") + "\n"
}

/// Varnish compresses all that it passes on.
const GZIP: &str = "\nsub vcl_backend_response { set beresp.do_gzip = true; }\n";

fn complains(said: &str) -> bool {
    let said = said.to_lowercase();
    ["warn", "alert", "emerg", "error"].iter().any(|word| said.contains(word))
}

async fn look_through(name: &str, text: &str, at: &str) -> String {
    let server = Server::start().await;
    let text = hasty(at, text.to_string());
    let middlebox =
        Middlebox::start_changed(name, "right", &server.url, |_| text).await;
    look(at, &middlebox, &server).await
}

#[tokio::test]
#[ignore = "needs proxies: tests/boxes/install"]
async fn each_configuration_is_clean() {
    for name in Middlebox::ALL {
        for configuration in ["default", "right"] {
            let checked = Middlebox::check(name, configuration, |text| text);
            let Some((is_taken, said)) = checked else { continue };
            assert!(
                is_taken && !complains(&said),
                "{name}, {configuration}: {said}"
            );
        }
    }
}

/// The looks through each right configuration, in the order of `LOOKS` but for the first
/// ones, which are the same through all: events come at once, and the server sees HTTP/1.1,
/// the reader's Host and its address. What a proxy cannot do stands out.
const SEEN: [(&str, [&str; 7]); 8] = [
    ("nginx", ["is cut", "true", "false", "false", "is cut", CUT, "all"]),
    ("haproxy", ["is cut", "false", "false", "false", "is cut", CUT, "all"]),
    ("caddy", ["ends", "true", "false", "false", "ends", GOES_ON, "all"]),
    ("varnish", ["is cut", "true", "false", "false", "goes on", GOES_ON, "all"]),
    ("apache", ["is cut", "false", "false", "false", "is cut", GOES_ON, "all"]),
    ("lighttpd", ["is cut", "false", "false", "false", "is cut", WAIT, "all"]),
    ("h2o", ["ends", "false", "false", "true", "is cut", GOES_ON, "all"]),
    ("nghttpx", ["is cut", "true", "false", "false", "is cut", GOES_ON, "all"]),
];

/// A stream from before a reload, and those who come after it.
const CUT: &str = "is cut, others come";
const GOES_ON: &str = "goes on, others come";
const WAIT: &str = "is cut, others wait";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs proxies: tests/boxes/install"]
async fn each_right_configuration_does_what_it_says_and_each_of_its_lines_is_missed()
{
    allow_open_files(20_000);
    stream::iter(boxes()).for_each_concurrent(3, assert_all_of_it_counts).await;
}

async fn assert_all_of_it_counts(name: &&str) {
    let right = Middlebox::text(name, "right");
    let (_, expected) = SEEN.iter().find(|(of, _)| of == name).unwrap();
    let expected =
        [&["true", "true", "HTTP/1.1 book.example 127.0.0.1"], &expected[..]]
            .concat();
    let seen =
        stream::iter(LOOKS.iter().zip(expected)).map(async |(at, expected)| {
            // On a busy machine one look may be disturbed.
            let mut seen = String::new();
            for _ in 0..4 {
                seen = look_through(name, &right, at).await;
                if seen == expected {
                    break;
                }
            }
            assert_eq!(seen, expected, "{name}: {at}");
            seen
        });
    let seen: Vec<String> = seen.buffered(3).collect().await;
    let missed = stream::iter(lines(name)).map(async |line| {
        let text = without(&right, &line);
        let checked = Middlebox::check(name, "right", |_| text.clone());
        if checked.is_some_and(|(is_taken, said)| !is_taken || complains(&said)) {
            return;
        }
        for (at, with) in LOOKS.iter().zip(&seen) {
            if look_through(name, &text, at).await != *with {
                return;
            }
        }
        panic!("{name}: nothing changes without `{line}`");
    });
    missed.buffer_unordered(8).collect::<()>().await;
}
