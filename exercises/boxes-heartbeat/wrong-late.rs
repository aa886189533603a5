        let again = Instant::now() + self.asked.every;
        let due = if self.number == 0 { due } else { again };
        let quiet = self.asked.heartbeat.map(|time| Instant::now() + time);
        let quiet = quiet.filter(|quiet| self.number > 0 && *quiet < due);
        sleep_until(quiet.unwrap_or(due)).await;
        if quiet.is_some() {
            return Some(Bytes::from_static(b":\n"));
        }
