            if let Some(left) = line.refuses() {
                res.headers_mut().insert(header::RETRY_AFTER, left.as_secs().into());
                let why = "you asked for this";
                return Err(StatusError::service_unavailable().brief(why));
            }
