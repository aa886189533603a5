async fn ask_first(room: &Room) -> &'static str {
    loop {
        if let Some(message) = room.messages.lock().pop() {
            return message;
        }
        yield_now().await;
        let grew = room.grew.notified();
        grew.await;
    }
}
