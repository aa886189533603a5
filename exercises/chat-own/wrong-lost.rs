        if entry.sender == self.id {
            return Some((Bytes::from_static(b":\n"), entry.position));
        }
