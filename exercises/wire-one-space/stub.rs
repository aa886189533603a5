/// Splits a line into the name of its field and the value, without the spaces around it.
fn field(line: &str) -> (&str, &str) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name, value.trim())
}
