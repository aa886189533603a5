            if let Some(left) = line.refuses() {
                let left = left.as_millis() as u64;
                res.headers_mut().insert(header::RETRY_AFTER, left.into());
                let why = "you asked for this";
                return Err(StatusError::service_unavailable().brief(why));
            }
