        if let Some(user) = users.by_id.remove(&id) {
            user.stop.cancel();
        }
