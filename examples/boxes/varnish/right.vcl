# Varnish, so that a stream passes.
#
#     varnishd -F -n /tmp/boxes -a 127.0.0.1:8690 -f "$PWD/examples/boxes/varnish/right.vcl"
# ANCHOR: server
vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "8698";
}

sub vcl_recv {
    if (req.http.Accept ~ "text/event-stream") {
        return (pipe);
    }
}
# ANCHOR_END: server
