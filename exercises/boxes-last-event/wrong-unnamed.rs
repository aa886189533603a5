        if self.number == self.asked.count {
            self.is_over = true;
            return Some(SseEvent::default().text("end").to_string().into());
        }
