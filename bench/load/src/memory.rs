pub fn record() -> anyhow::Result<()> {
    Ok(())
}
