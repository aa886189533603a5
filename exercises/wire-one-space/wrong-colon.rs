/// Splits a line into the name of its field and the value.
fn field(line: &str) -> (&str, &str) {
    line.split_once(": ").unwrap_or((line, ""))
}
