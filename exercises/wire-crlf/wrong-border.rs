    /// Takes the next bytes, and looks for the LF behind a CR among them.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        let mut bytes = bytes.iter().peekable();
        while let Some(&byte) = bytes.next() {
            match byte {
                b'\r' => {
                    bytes.next_if(|next| **next == b'\n');
                    events.extend(self.end_line());
                }
                b'\n' => events.extend(self.end_line()),
                _ => self.line.push(byte),
            }
        }
        events
    }
