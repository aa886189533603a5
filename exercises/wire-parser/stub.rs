/// The state between two bytes of a stream. Add what you need.
#[derive(Default)]
pub struct Parser {
    /// The id that a client sends when it connects again.
    pub last_event_id: String,
}

impl Parser {
    /// Takes the next bytes, which may end anywhere, and returns the events that they
    /// complete.
    pub fn feed(&mut self, _bytes: &[u8]) -> Vec<Event> {
        Vec::new()
    }
}
