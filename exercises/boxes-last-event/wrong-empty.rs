        if self.number == self.asked.count {
            self.is_over = true;
            return Some(Bytes::from_static(b"event: end\n\n"));
        }
