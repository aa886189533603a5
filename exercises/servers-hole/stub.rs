            Some(_) => {
                events.retain(|(id, _)| *id != last);
                Ok(events.into())
            }
