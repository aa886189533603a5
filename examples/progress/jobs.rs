//! Jobs that run by themselves, and the readers that look on. Nothing here knows HTTP, apart
//! from the format of an event.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use salvo::sse::SseEvent;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{
    Duration, Interval, MissedTickBehavior, interval, sleep, timeout,
};
use tokio_util::sync::CancellationToken;

/// Jobs that run at once: a real one takes a processor, or a connection to somebody.
pub const MAX_RUNNING: usize = 32;
/// Jobs that are known, a few MiB at most; the oldest that is over makes room.
const MAX_KEPT: usize = 256;
/// How long a job may run.
const MAX_TIME: Duration = Duration::from_secs(600);
/// A reader hears of a job this often at most: nobody reads faster.
const PACE: Duration = Duration::from_millis(100);
/// The ID of the last event of a job.
pub const END: &str = "end";

pub struct Jobs {
    /// Jobs with their ids, the oldest first. An id is a secret: whoever has it can look on,
    /// and cancel the job.
    kept: Mutex<VecDeque<(u128, Arc<Job>)>>,
    /// A place for each job that may run.
    running: Arc<Semaphore>,
    /// A place for each reader of any job.
    reading: Arc<Semaphore>,
    /// Cancels all jobs when the program ends.
    stop: CancellationToken,
}

impl Jobs {
    pub fn new(readers: usize, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            kept: Mutex::default(),
            running: Arc::new(Semaphore::new(MAX_RUNNING)),
            reading: Arc::new(Semaphore::new(readers)),
            stop,
        })
    }

    /// Starts a job, and returns its id; or `None`, if too many are running already.
    pub fn start(&self, text: String) -> Option<u128> {
        let place = self.running.clone().try_acquire_owned().ok()?;
        let id = rand::random();
        let of = text.lines().count();
        let (state, latest) = watch::channel(State { done: 0, of, end: None });
        let cancel = self.stop.child_token();
        self.keep(id, Job { latest, cancel: cancel.clone() });
        tokio::spawn(async move {
            run(&text, &state, &cancel).await;
            drop(place);
        });
        Some(id)
    }

    fn keep(&self, id: u128, job: Job) {
        let mut kept = self.kept.lock();
        if kept.len() >= MAX_KEPT
            && let Some(oldest) = kept.iter().position(|(_, job)| job.is_over())
        {
            kept.remove(oldest);
        }
        kept.push_back((id, Arc::new(job)));
    }

    pub fn find(&self, id: u128) -> Option<Arc<Job>> {
        let kept = self.kept.lock();
        kept.iter().find(|(known, _)| *known == id).map(|(_, job)| job.clone())
    }

    pub fn place_for_a_reader(&self) -> Option<OwnedSemaphorePermit> {
        self.reading.clone().try_acquire_owned().ok()
    }
}

/// Works until the job is done, fails or is cancelled, and says which.
async fn run(text: &str, state: &watch::Sender<State>, cancel: &CancellationToken) {
    let end = tokio::select! {
        biased;
        () = cancel.cancelled() => End::Cancelled,
        result = timeout(MAX_TIME, work(text, state)) => match result {
            Ok(Ok(())) => End::Done,
            Ok(Err(reason)) => End::Failed(reason),
            Err(_) => End::Failed(format!("it took over {} s", MAX_TIME.as_secs())),
        },
    };
    state.send_modify(|state| state.end = Some(end));
}

/// Takes one step after the other. Your own work goes here.
async fn work(text: &str, state: &watch::Sender<State>) -> Result<(), String> {
    for (n, line) in text.lines().enumerate() {
        let time = line.trim().parse().map_err(|_| {
            format!("line {} is not a number of milliseconds", n + 1)
        })?;
        sleep(Duration::from_millis(time)).await;
        state.send_modify(|state| state.done += 1);
    }
    Ok(())
}

pub struct Job {
    /// How far it is. The task that works has the other end.
    latest: watch::Receiver<State>,
    cancel: CancellationToken,
}

/// How far a job is: how many steps are done, and of how many.
struct State {
    done: usize,
    of: usize,
    end: Option<End>,
}

enum End {
    Done,
    Cancelled,
    Failed(String),
}

impl Job {
    pub fn is_over(&self) -> bool {
        self.latest.borrow().end.is_some()
    }

    pub fn cancel(&self) {
        self.cancel.cancel();
    }
}

impl State {
    fn event(&self) -> SseEvent {
        let mut data = json!({ "done": self.done, "of": self.of });
        let name = match &self.end {
            None => "progress",
            Some(End::Done) => "done",
            Some(End::Cancelled) => "cancelled",
            Some(End::Failed(reason)) => {
                data["reason"] = json!(reason);
                "failure"
            }
        };
        let event = SseEvent::default().name(name).text(data.to_string());
        if self.end.is_some() { event.id(END) } else { event }
    }
}

// ANCHOR: reader
/// One stream of a job's states. A state that a newer one has replaced is not sent.
pub struct Reader {
    latest: watch::Receiver<State>,
    pace: Interval,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    pub fn new(job: &Job, place: OwnedSemaphorePermit) -> Self {
        let mut latest = job.latest.clone();
        latest.mark_changed(); // even the first state is news to a new reader
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { latest, pace, _place: place }
    }

    // ANCHOR: next
    /// The event to send next; `None` after the last one.
    pub async fn next(&mut self) -> Option<SseEvent> {
        // An error says that the job's task is gone, and that its last state was sent.
        self.latest.changed().await.ok()?;
        self.pace.tick().await;
        Some(self.latest.borrow_and_update().event())
    }
    // ANCHOR_END: next
}
// ANCHOR_END: reader
