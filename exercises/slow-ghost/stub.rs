        if let Some(user) = users.by_id.get_mut(&id) {
            user.stop = stop.clone();
            return Ok(user.number);
        }
