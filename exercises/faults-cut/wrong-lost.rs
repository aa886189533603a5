/// An error in place of bytes.
async fn cut() -> Chunk {
    Err(broken())
}
