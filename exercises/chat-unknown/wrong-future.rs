    /// The position after which a reader continues, and whether its last event is unknown.
    fn begin(&self, last: Option<&[u8]>) -> (u64, bool) {
        let log = self.log.read();
        let Some(last) = last else { return (log.newest, false) };
        let known = self.position(last);
        (known.unwrap_or(log.forgotten), known.is_none())
    }
