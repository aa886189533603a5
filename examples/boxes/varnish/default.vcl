# Varnish as Debian ships it (/etc/varnish/default.vcl; its subroutines are empty).
#
#     mkdir -p /tmp/boxes
#     varnishd -F -j none -n /tmp/boxes/varnish -a 127.0.0.1:8690 -f "$PWD/examples/boxes/varnish/default.vcl"
# ANCHOR: server
vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "8698";
}
# ANCHOR_END: server
