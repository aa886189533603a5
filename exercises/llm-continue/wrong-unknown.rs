    let known = log.borrow().events.len();
    let position = req.header("last-event-id").unwrap_or(0);
