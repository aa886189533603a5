pub fn refuse_foreign(req: &Request) -> Result<(), StatusError> {
    match req.headers().get("sec-fetch-site").map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(StatusError::forbidden()),
    }
}
