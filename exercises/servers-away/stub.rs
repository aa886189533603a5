            sleep(pause).await;
            blocking = match self.redis.connect().await {
                Ok(blocking) => blocking,
                Err(failure) => return self.redis.give_up(&failure),
            };
