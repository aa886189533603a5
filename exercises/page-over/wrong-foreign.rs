    /// Whether nothing follows this event id: the line is over, and this client has it all.
    pub fn is_over_after(&self, last: Option<&[u8]>) -> bool {
        let Some(end) = self.faults.borrow().end else { return false };
        match last.and_then(|id| self.number(id)) {
            Some(last) => last >= end,
            None => true,
        }
    }
