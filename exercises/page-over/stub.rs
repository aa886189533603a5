    /// Whether nothing follows this event id: the line is over, and this client has it all.
    pub fn is_over_after(&self, _last: Option<&[u8]>) -> bool {
        false
    }
