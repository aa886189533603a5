//! The bounds of `progress`, and whom it refuses.

use serde_json::Value;
use tests::Program;

use super::{Job, next, post};

/// Jobs that may run at once.
const MAX_RUNNING: usize = 32;
/// Jobs that are known.
const MAX_KEPT: usize = 256;

#[tokio::test]
async fn one_job_too_many_is_refused_until_another_ends() {
    let program = Program::start("progress").await;
    let mut jobs = Vec::new();
    for _ in 0..MAX_RUNNING {
        jobs.push(Job::start(&program, &[60_000]).await);
    }
    let refused = post(&program, "1".into()).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "5");
    jobs[0].cancel().await;
    let mut ann = jobs[0].events().await;
    while ann.next().await.is_some() {}
    tests::until("there is a place", async || {
        post(&program, "60000".into()).await.status() == 201
    })
    .await;
}

#[tokio::test]
async fn old_jobs_that_are_over_make_room_and_running_ones_stay() {
    let program = Program::start("progress").await;
    let running = Job::start(&program, &[60_000]).await;
    let first = Job::start(&program, &[0]).await;
    let mut ann = first.events().await;
    while ann.next().await.is_some() {}
    for _ in 0..MAX_KEPT {
        let job = Job::start(&program, &[0]).await;
        let mut ann = job.events().await;
        while ann.next().await.is_some() {}
    }
    let gone = program.get(&first.path).await;
    assert_eq!(gone.status(), 404);
    assert!(gone.text().await.unwrap().contains("no such job, or no longer"));
    assert_eq!(next(&mut running.events().await).await.0, "progress");
}

#[tokio::test]
async fn a_text_that_is_too_long_or_no_text_or_empty_gets_a_reason() {
    let program = Program::start("progress").await;
    for (body, status, reason) in [
        (vec![b'1'; (64 << 10) + 1], 413, "more than 65536 bytes"),
        (vec![0xff], 400, "not UTF-8"),
        (b" \n".to_vec(), 400, "no steps"),
    ] {
        let post = program.request("POST", "/jobs").body(body);
        let answer = program.send(post.header("accept", "application/json")).await;
        assert_eq!(answer.status(), status);
        let answer: Value = answer.json().await.unwrap();
        let brief = answer["error"]["brief"].as_str().unwrap();
        assert!(brief.contains(reason), "{brief}");
    }
}

#[tokio::test]
async fn a_foreign_page_can_neither_start_nor_watch_nor_cancel_a_job() {
    let program = Program::start("progress").await;
    let job = Job::start(&program, &[60_000]).await;
    for (method, path) in
        [("POST", "/jobs"), ("GET", &*job.path), ("DELETE", &job.path)]
    {
        let request = program.request(method, path).body("60000");
        let request = request.header("sec-fetch-site", "cross-site");
        assert_eq!(program.send(request).await.status(), 403, "{method}");
    }
    assert_eq!(next(&mut job.events().await).await.0, "progress");
}
