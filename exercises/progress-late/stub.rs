/// One stream of a job's states. A state that a newer one has replaced is not sent.
pub struct Reader {
    latest: watch::Receiver<State>,
    pace: Interval,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    pub fn new(job: &Job, place: OwnedSemaphorePermit) -> Self {
        let latest = job.latest.clone();
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { latest, pace, _place: place }
    }

    /// The event to send next; `None` after the last one.
    pub async fn next(&mut self) -> Option<SseEvent> {
        // An error says that the job's task is gone, and that its last state was sent.
        self.latest.changed().await.ok()?;
        self.pace.tick().await;
        Some(self.latest.borrow_and_update().event())
    }
}
