        let _ = missed; // your turn
