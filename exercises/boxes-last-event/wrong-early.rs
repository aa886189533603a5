        if self.number + 1 == self.asked.count {
            self.is_over = true;
            let end = SseEvent::default().name("end").text(self.number.to_string());
            return Some(end.to_string().into());
        }
