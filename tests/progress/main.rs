//! Jobs and their readers, as `progress.md` tells of them.

mod naive;
mod page;
mod strangers;

use std::time::{Duration, Instant};

use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use tests::{Events, Program, within};

/// A job of `progress`, as its client knows it.
struct Job<'a> {
    program: &'a Program,
    path: String,
}

impl<'a> Job<'a> {
    /// Starts a job whose steps take this many milliseconds.
    async fn start(program: &'a Program, steps: &[u64]) -> Self {
        let steps: String = steps.iter().map(|step| format!("{step}\n")).collect();
        Self::of(program, post(program, steps).await)
    }

    /// The job that this answer names.
    fn of(program: &'a Program, answer: Response) -> Self {
        assert_eq!(answer.status(), 201);
        let location = answer.headers()["location"].to_str().unwrap();
        Self { program, path: format!("/{location}") }
    }

    async fn events(&self) -> Events {
        self.program.events(&self.path).await
    }

    /// A request of a client that comes back, and has this event.
    fn back(&self, id: &str) -> RequestBuilder {
        self.program.request("GET", &self.path).header("last-event-id", id)
    }

    async fn cancel(&self) {
        let delete = self.program.request("DELETE", &self.path);
        assert_eq!(self.program.send(delete).await.status(), 204);
    }
}

async fn post(program: &Program, steps: String) -> Response {
    program.send(program.request("POST", "/jobs").body(steps)).await
}

/// The next event: its type, and its data.
async fn next(events: &mut Events) -> (String, Value) {
    let event = events.next().await.expect("the stream goes on");
    (event.event, serde_json::from_str(&event.data).unwrap())
}

#[test]
fn the_session_is_the_recorded_one() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let program = runtime.block_on(Program::start("progress"));
    let session = program.session("progress/recorded/job.txt").replace('\r', "");
    let id = session.split("jobs/").nth(2).and_then(|rest| rest.get(..32)).unwrap();
    let session = session.replace(id, "d128a06627d029652f68bb5897307f2f");
    tests::assert_recorded("progress/recorded/job.txt", &session);
}

#[tokio::test]
async fn the_answer_comes_at_once_and_the_job_goes_on() {
    let program = Program::start("progress").await;
    let start = Instant::now();
    let job = Job::start(&program, &[60_000]).await;
    assert!(start.elapsed() < Duration::from_secs(30), "it waited for the job");
    let mut ann = job.events().await;
    assert_eq!(
        next(&mut ann).await,
        ("progress".into(), json!({"done": 0, "of": 1}))
    );
}

#[tokio::test]
async fn a_reader_sees_each_slow_step_and_then_that_the_job_is_done() {
    let program = Program::start("progress").await;
    let job = Job::start(&program, &[1_500, 1_500]).await;
    let mut ann = job.events().await;
    for done in 0..2 {
        let data = json!({"done": done, "of": 2});
        assert_eq!(next(&mut ann).await, ("progress".into(), data));
    }
    assert_eq!(next(&mut ann).await, ("done".into(), json!({"done": 2, "of": 2})));
    assert!(ann.next().await.is_none(), "the stream ends with the job");
}

#[tokio::test]
async fn nobody_has_to_read_and_a_late_reader_gets_the_newest_state_at_once() {
    let program = Program::start("progress").await;
    let job = Job::start(&program, &[1, 1, 1, 60_000]).await;
    // Ann looks until three steps are done, and goes away.
    let mut ann = job.events().await;
    while next(&mut ann).await.1["done"] != 3 {}
    drop(ann);
    let mut bob = job.events().await;
    assert_eq!(next(&mut bob).await.1, json!({"done": 3, "of": 4}));
    bob.stays_quiet_for(Duration::from_millis(300)).await;
}

#[tokio::test]
async fn two_readers_see_the_same_end_and_so_does_one_who_comes_after_it() {
    let program = Program::start("progress").await;
    let job = Job::start(&program, &[100]).await;
    let mut ann = job.events().await;
    let mut bob = job.events().await;
    for reader in [&mut ann, &mut bob] {
        let mut last = next(reader).await;
        while let Some(event) = reader.next().await {
            last = (event.event, serde_json::from_str(&event.data).unwrap());
        }
        assert_eq!(last, ("done".into(), json!({"done": 1, "of": 1})));
    }
    let mut cat = job.events().await;
    assert_eq!(next(&mut cat).await.0, "done");
    assert!(cat.next().await.is_none());
}

#[tokio::test]
async fn a_reader_who_has_the_end_gets_204_and_one_who_has_not_gets_it() {
    let program = Program::start("progress").await;
    let job = Job::start(&program, &[100, 100]).await;
    let mut ann = job.events().await;
    let mut last = ann.next().await.unwrap();
    assert_eq!(last.id, "", "the newest state replaces the others: it needs no id");
    while let Some(event) = ann.next().await {
        last = event;
    }
    assert_eq!((&*last.event, &*last.id), ("done", "end"));
    assert_eq!(program.send(job.back("end")).await.status(), 204);
    let mut again = program.events_of(job.back("1")).await;
    assert_eq!(next(&mut again).await.0, "done");
}

#[tokio::test]
async fn the_id_of_an_end_is_no_end_while_the_job_runs() {
    let program = Program::start("progress").await;
    let job = Job::start(&program, &[60_000]).await;
    let mut ann = program.events_of(job.back("end")).await;
    assert_eq!(next(&mut ann).await.0, "progress");
}

#[tokio::test]
async fn a_job_that_is_cancelled_says_so_to_all_and_stays_cancelled() {
    let program = Program::start("progress").await;
    let job = Job::start(&program, &[1, 60_000]).await;
    let mut ann = job.events().await;
    while next(&mut ann).await.1["done"] != 1 {}
    job.cancel().await;
    let data = json!({"done": 1, "of": 2});
    assert_eq!(next(&mut ann).await, ("cancelled".into(), data));
    assert!(ann.next().await.is_none());
    job.cancel().await;
    let mut bob = job.events().await;
    assert_eq!(next(&mut bob).await.0, "cancelled");
}

#[tokio::test]
async fn a_job_that_is_done_cannot_be_cancelled_any_more() {
    let program = Program::start("progress").await;
    let job = Job::start(&program, &[1]).await;
    let mut ann = job.events().await;
    while ann.next().await.is_some() {}
    job.cancel().await;
    assert_eq!(next(&mut job.events().await).await.0, "done");
}

#[tokio::test]
async fn a_step_that_fails_is_an_event_with_the_reason() {
    let program = Program::start("progress").await;
    let job = Job::of(&program, post(&program, "1\nlater\n1\n".into()).await);
    let mut ann = job.events().await;
    let mut event = next(&mut ann).await;
    while event.0 == "progress" {
        event = next(&mut ann).await;
    }
    let reason = "line 2 is not a number of milliseconds";
    let data = json!({"done": 1, "of": 3, "reason": reason});
    assert_eq!(event, ("failure".into(), data));
    assert!(ann.next().await.is_none());
}

#[tokio::test]
async fn a_fast_job_is_told_ten_times_a_second_at_most() {
    let program = Program::start("progress").await;
    let job = Job::start(&program, &[2; 400]).await;
    let mut ann = job.events().await;
    let start = Instant::now();
    let mut count = 0;
    while ann.next().await.is_some() {
        count += 1;
    }
    let most = start.elapsed().as_millis() / 100 + 2;
    assert!((2..=most).contains(&count), "{count} events, {most} at most");
}

/// The system has taken them for the reader, who gets them late and in order.
#[tokio::test]
async fn a_reader_that_pauses_gets_the_states_of_the_pause_too() {
    let program = Program::start("progress").await;
    let job = Job::start(&program, &[2; 10_000]).await;
    let mut ann = job.events().await;
    next(&mut ann).await;
    tests::pause(Duration::from_secs(2)).await;
    // The others of the pause are there at once, and are older than what a new reader gets.
    let mut bob = job.events().await;
    let now = next(&mut bob).await.1["done"].as_u64();
    let mut old = 0;
    while next(&mut ann).await.1["done"].as_u64() < now {
        old += 1;
    }
    assert!(old > 5, "{old}");
}

/// The stream stays open while its reader takes nothing; meanwhile, the states go by.
#[tokio::test]
async fn a_stream_that_nobody_reads_holds_up_no_job() {
    let program = Program::start("progress").await;
    let job = Job::start(&program, &[1; 200]).await;
    let _stuck = program.reader_that_never_reads(&job.path).await;
    let mut ann = job.events().await;
    let end = async { while next(&mut ann).await.0 != "done" {} };
    within("the end of the job", end).await;
}
