# Varnish, so that a stream passes. Run it as it stands:
#
#     mkdir -p /tmp/boxes
#     varnishd -F -j none -n /tmp/boxes/varnish -a 127.0.0.1:8690 -f "$PWD/examples/boxes/varnish/right.vcl"
#
# On a server: all of it into /etc/varnish/default.vcl. If you have a vcl_backend_response
# already, put this one behind it: Varnish runs those of one name in the order of the file,
# and the last `set` counts. (If yours returns, put these lines in front of its `return`.)
# Host passes as it came, and X-Forwarded-For comes by itself. A stream takes a thread: there
# are 10,000 (`-p thread_pool_max`, of each of two pools). A silent pipe lives for 60 seconds
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
        # For a `fetch` that does not ask for this type.
        set beresp.uncacheable = true; # a stream is one reader's
        set beresp.do_gzip = false; # behind the line that sets it: compressed, events wait
    }
}
# ANCHOR_END: server
