        if missed > 0 {
            let id = self.room.event_id(log.forgotten);
            let event = event("missed", "").id(id).to_string();
            return Some((event.into(), log.forgotten));
        }
