sub vcl_backend_response { # below the one that sets it: the last one counts
    set beresp.do_gzip = beresp.do_gzip && beresp.http.Content-Type !~ "text/event-stream";
}
