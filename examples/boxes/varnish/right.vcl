# Varnish, so that a stream passes. Run it as it stands:
#
#     mkdir -p /tmp/boxes
#     varnishd -F -j none -n /tmp/boxes/varnish -a 127.0.0.1:8690 -f "$PWD/examples/boxes/varnish/right.vcl"
#
# On a server: `server` into /etc/varnish/default.vcl. Host passes as it came, and
# X-Forwarded-For comes by itself. A stream takes a thread: there are 10,000
# (`-p thread_pool_max`, of each of two pools). A silent pipe lives for 60 seconds
# (`-p pipe_timeout`): four heartbeats.
# ANCHOR: server
vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "8698";
}

sub vcl_recv {
    if (req.http.Accept ~ "text/event-stream") {
        return (pipe); # the reader's leaving is told at once, and nothing is stored
    }
}

sub vcl_backend_response {
    if (beresp.http.Content-Type ~ "^text/event-stream") {
        set beresp.uncacheable = true; # for who asks with fetch: a stream is one reader's
    }
}
# ANCHOR_END: server
