    /// The position after which a reader continues, and whether its last event is unknown.
    fn begin(&self, last: Option<&[u8]>) -> (u64, bool) {
        let log = self.log.read();
        let known = last.and_then(|last| self.position(last));
        (known.unwrap_or(log.newest), false)
    }
