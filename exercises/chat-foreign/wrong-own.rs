pub fn refuse_foreign(req: &Request) -> Result<(), StatusError> {
    match req.headers().get("sec-fetch-site").map(HeaderValue::as_bytes) {
        Some(b"same-origin" | b"none") => Ok(()),
        None if !req.headers().contains_key(header::ORIGIN) => Ok(()),
        _ => Err(StatusError::forbidden()),
    }
}
