/// A parser that looks for empty lines in the text.
#[derive(Default)]
pub struct Parser {
    text: String,
    pub last_event_id: String,
}

impl Parser {
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.text += &String::from_utf8_lossy(bytes);
        let mut events = Vec::new();
        while let Some((event, rest)) = self.text.split_once("\n\n") {
            let mut data = Vec::new();
            let mut event_type = "message";
            for line in event.lines() {
                match line.split_once(": ") {
                    Some(("data", value)) => data.push(value),
                    Some(("event", value)) => event_type = value,
                    Some(("id", value)) => self.last_event_id = value.into(),
                    _ => {}
                }
            }
            events.push(Event {
                event_type: event_type.into(),
                data: data.join("\n"),
                last_event_id: self.last_event_id.clone(),
            });
            self.text = rest.to_string();
        }
        events
    }
}
