    let known = log.borrow().events.len();
    let position = 0;
