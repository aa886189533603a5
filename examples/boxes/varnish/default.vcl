# Varnish, as its documentation begins.
#
#     varnishd -F -n /tmp/boxes -a 127.0.0.1:8690 -f "$PWD/examples/boxes/varnish/default.vcl"
# ANCHOR: server
vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "8698";
}
# ANCHOR_END: server
