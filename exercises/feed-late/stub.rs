        let events = stream::unfold((kept, last), async |(mut kept, last)| {
            kept.changed().await.ok()?;
            let (event, last) = kept.borrow().after(last);
            Some((event, (kept, last)))
        });
