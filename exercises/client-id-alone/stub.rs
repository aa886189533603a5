            let id = self.id.take();
            if self.data.pop().is_some() {
                self.last_event_id = id.unwrap_or(take(&mut self.last_event_id));
                return true; // the LF of the last line of data is gone
            }
