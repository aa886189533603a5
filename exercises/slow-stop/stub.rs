        handle.stop_graceful(STOP); // lets nobody in any more, and waits for the streams
