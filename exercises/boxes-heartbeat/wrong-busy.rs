        let now = Instant::now();
        let next = self.asked.heartbeat.map(|time| self.quiet.unwrap_or(now) + time);
        let quiet = next.filter(|quiet| *quiet < due);
        sleep_until(quiet.unwrap_or(due)).await;
        if quiet.is_some() {
            self.quiet = quiet;
            return Some(Bytes::from_static(b":\n"));
        }
        self.quiet = self.quiet.or(Some(now));
