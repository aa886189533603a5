        // Your turn.
