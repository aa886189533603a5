    /// Takes the next bytes, and ends a line at each LF.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' => {
                    if self.line.last() == Some(&b'\r') {
                        self.line.pop();
                    }
                    events.extend(self.end_line());
                }
                _ => self.line.push(byte),
            }
        }
        events
    }
