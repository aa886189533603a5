/// Reads the answer of the model server to its end, and returns why the model has stopped.
async fn read(answer: &Answer, prompt: &Value) -> Result<String, Failure> {
    let mut response = open(prompt).await?;
    let mut unread = String::new();
    let mut reason = None;
    while let Some(bytes) = response.chunk().await? {
        unread += &String::from_utf8_lossy(&bytes);
        while let Some(end) = unread.find('\n') {
            let line: String = unread.drain(..=end).collect();
            let Some(data) = line.strip_prefix("data:") else { continue };
            if data.trim() == "[DONE]" {
                return reason.ok_or(BROKE_OFF.into());
            }
            take(answer, data.as_bytes(), &mut reason)?;
        }
    }
    Err(BROKE_OFF.into())
}

const BROKE_OFF: &str = "the model server did not say that the answer is over";
