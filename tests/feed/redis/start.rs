//! Lines that the program writes when it starts on a Redis, or cannot.

use std::time::Instant;

use tests::redis::Redis;
use tests::{Ended, Program, run, until};
use tokio::net::TcpListener;

use super::{SOON, feed};
use crate::client::Feed;

const PASSWORD: &str = "very-secret-0123456789";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_wrong_redis_url_is_one_clear_line_without_its_password() {
    let redis = Redis::start_with(&[("requirepass", "right")]).await;
    let other = Program::start("tick").await;
    let http = other.url.strip_prefix("http://").unwrap();
    // This one accepts connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().unwrap();
    let with_password = |addr: &str| format!("redis://:{PASSWORD}@{addr}");
    let no_address = "REDIS_URL is no address, as in redis://127.0.0.1:6379: ";
    let cases = [
        ("banana".to_string(), no_address),
        (String::new(), no_address),
        (format!("http://:{PASSWORD}@127.0.0.1"), no_address),
        (with_password("127.0.0.1:port"), no_address),
        (with_password("127.0.0.1/banana"), no_address),
        (with_password(""), no_address),
        (format!("rediss://:{PASSWORD}@127.0.0.1"), "REDIS_URL"),
        (with_password("127.0.0.1:1"), "127.0.0.1:1"),
        (with_password("nowhere.invalid"), "nowhere.invalid"),
        (with_password(http), http),
        (with_password(&silent.to_string()), &silent.to_string()),
        (with_password(&redis.addr()), &redis.addr()),
        (redis.url(), "NOAUTH"),
        (with_password(&redis.addr()), "authentication failed"),
    ];
    for (url, why) in &cases {
        let start = Instant::now();
        let variables = [("ADDR", "127.0.0.1:0"), ("REDIS_URL", url)];
        let Ended { code, stdout, stderr } = run("feed", &variables);
        let took = start.elapsed();
        assert_eq!((code, &*stdout), (Some(1), ""), "{url}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{url}: {stderr}");
        assert!(stderr.contains(why), "{url}: {stderr}");
        assert!(!stderr.contains(PASSWORD), "{url}: {stderr}");
        assert!(took < SOON, "{url}: {took:?}");
    }
    let url = format!("redis://:right@{}", redis.addr());
    let server = Feed::start_in(&[("REDIS_URL", &url)]).await;
    server.note("x").await;
    assert!(!server.stderr().contains("right"), "{}", server.stderr());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn the_first_log_lines_say_what_survives_a_crash_of_redis() {
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [[&'a str; 2]]);
    let cases: [Case; _] = [
        (&[], &[["INFO", "appendfsync always"]]),
        (&[("appendfsync", "everysec")], &[["INFO", "appendfsync everysec"]]),
        (
            &[("appendonly", "no")],
            &[["WARN", "no: what it has acknowledged is lost when it is killed"]],
        ),
        (
            &[("rename-command", "CONFIG hidden")],
            &[["WARN", "does not say what survives a crash"]],
        ),
        (
            &[("maxmemory-policy", "allkeys-lru")],
            &[
                ["INFO", "appendfsync always"],
                ["WARN", "when its memory is full, it may remove the whole log"],
            ],
        ),
    ];
    for (settings, expected) in cases {
        let redis = Redis::start_with(settings).await;
        let server = feed(&redis).await;
        let addr = redis.addr();
        until("a word on what survives", async || {
            let stderr = server.stderr();
            let lines: Vec<_> =
                stderr.lines().filter(|line| line.contains(&addr)).collect();
            assert!(lines.len() <= expected.len(), "{stderr}");
            let mut pairs = lines.iter().zip(expected);
            lines.len() == expected.len()
                && pairs.all(|(line, words)| words.iter().all(|w| line.contains(w)))
        })
        .await;
    }
}
