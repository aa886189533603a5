sub vcl_backend_response { # below the one that sets it: Varnish runs them in the file's order
    set beresp.do_gzip = beresp.do_gzip && beresp.http.Content-Type !~ "text/event-stream";
}
