        self.quiet = None;
        sleep_until(due).await;
