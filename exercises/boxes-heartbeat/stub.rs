        let quiet = self.quiet.take().filter(|quiet| *quiet < due);
        sleep_until(quiet.unwrap_or(due)).await;
        if quiet.is_some() {
            return Some(Bytes::from_static(b":\n"));
        }
        self.quiet = self.asked.heartbeat.map(|time| Instant::now() + time);
