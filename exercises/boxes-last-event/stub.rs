        if self.number == self.asked.count {
            self.is_over = true;
            return None;
        }
