    Ok(reason.unwrap_or_default())
