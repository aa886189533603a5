//! The smallest cures: small programs, each against one symptom, and what a reader of each
//! sees. `slow` has readers who fall behind, `replay` those who come back, `quiet` streams
//! without events, `ends` streams that end, `origins` those who may read,
//! `dead` connections that only look alive, `tabs` many tabs of one page, and `text` whole
//! letters and tokens.

mod dead;
mod ends;
mod origins;
mod quiet;
mod replay;
mod slow;
mod tabs;
mod text;

use tests::Program;

/// The cures that have a stream of their own. (`cure_relay` has that
/// of its upstream, `cure_cookie` wants a token, and `cure_log` a Redis.)
const SERVERS: [&str; 8] = [
    "cure_room",
    "cure_ring",
    "cure_job",
    "cure_heartbeat",
    "cure_end",
    "cure_lagged",
    "cure_cors",
    "cure_json",
];

#[tokio::test]
async fn each_cure_names_its_stream_and_forbids_to_keep_it_back() {
    for name in SERVERS {
        let cure = Program::start(name).await;
        let answer = cure.get("/").await;
        assert_eq!(answer.status(), 200, "{name}");
        assert_eq!(answer.headers()["content-type"], "text/event-stream", "{name}");
        assert_eq!(answer.headers()["cache-control"], "no-cache", "{name}");
        assert_eq!(answer.headers()["x-accel-buffering"], "no", "{name}");
    }
}
