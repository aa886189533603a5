/// Any web page can send requests to this server. A browser says where the page comes from:
/// in `Sec-Fetch-Site`, which it sends to https and to loopback only, or else in `Origin`.
/// Other clients send neither.
pub fn refuse_foreign(_: &Request) -> Result<(), StatusError> {
    Ok(())
}
