const STREAM: &str = "HTTP/1.1 200 OK\r\n\
    Content-Type: text/plain\r\n\
    Connection: close\r\n\r\n";
