sub vcl_backend_response {
    set beresp.do_gzip = beresp.do_gzip && beresp.http.Content-Type !~ "text/event-stream";
}
