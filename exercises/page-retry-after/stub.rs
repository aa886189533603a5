            if line.refuses().is_some() {
                let why = "you asked for this";
                return Err(StatusError::service_unavailable().brief(why));
            }
