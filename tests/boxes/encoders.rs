//! The encoders of the boxes, and the lines that switch each of them on.

/// An encoder before the same server: a box and the lines that switch it on.
pub struct Case {
    pub middlebox: &'static str,
    /// The lines, as the page shows them.
    pub configuration: &'static str,
    /// The file that they are added to.
    pub base: &'static str,
    pub change: fn(String) -> String,
    /// The coding that the reader asks for.
    pub coding: &'static str,
}

pub const CASES: [Case; 19] = [
    Case {
        middlebox: "salvo",
        configuration: "Compression::new()",
        base: "",
        change: |text| text,
        coding: "gzip",
    },
    Case {
        middlebox: "nginx",
        configuration: "gzip on",
        base: "right",
        change: |text| text.replace("http {", "http { gzip on; gzip_proxied any;"),
        coding: "gzip",
    },
    Case {
        middlebox: "nginx",
        configuration: "gzip_types text/event-stream",
        base: "right",
        change: |text| text.replace("http {", NGINX),
        coding: "gzip",
    },
    Case {
        middlebox: "nginx",
        configuration: "gzip_types …; proxy_buffering on",
        base: "right",
        change: |text| {
            let on = text.replace("proxy_buffering off", "proxy_buffering on");
            on.replace("http {", NGINX)
        },
        coding: "gzip",
    },
    Case {
        middlebox: "nginx",
        configuration: "gzip_types …; X-Accel-Buffering: no",
        base: "default",
        // Debian's has `gzip on` already.
        change: |text| text.replace("gzip on;", "").replace("http {", NGINX),
        coding: "gzip",
    },
    Case {
        middlebox: "haproxy",
        configuration: "compression algo gzip",
        base: "default",
        change: haproxy,
        coding: "gzip",
    },
    Case {
        middlebox: "haproxy",
        configuration: "compression algo gzip; option http-no-delay",
        base: "right",
        change: haproxy,
        coding: "gzip",
    },
    Case {
        middlebox: "caddy",
        configuration: "encode gzip",
        base: "right",
        change: |text| {
            text.replacen("reverse_proxy", "encode gzip\nreverse_proxy", 1)
        },
        coding: "gzip",
    },
    Case {
        middlebox: "caddy",
        configuration: "encode { minimum_length 1; match … }",
        base: "right",
        change: |text| {
            text.replacen("reverse_proxy", &format!("{CADDY}\nreverse_proxy"), 1)
        },
        coding: "gzip",
    },
    Case {
        middlebox: "varnish",
        configuration: "default",
        base: "default",
        change: |text| text,
        coding: "gzip",
    },
    Case {
        middlebox: "varnish",
        configuration: "set beresp.do_gzip = true",
        base: "default",
        change: |text| {
            text + "\nsub vcl_backend_response { set beresp.do_gzip = true; }\n"
        },
        coding: "gzip",
    },
    Case {
        middlebox: "apache",
        configuration: "AddOutputFilterByType DEFLATE text/html text/plain …",
        base: "right",
        change: |text| {
            apache(&text, "AddOutputFilterByType DEFLATE text/html text/plain")
        },
        coding: "gzip",
    },
    Case {
        middlebox: "apache",
        configuration: "SetOutputFilter DEFLATE",
        base: "right",
        change: |text| apache(&text, "SetOutputFilter DEFLATE"),
        coding: "gzip",
    },
    Case {
        middlebox: "apache",
        configuration: "SetOutputFilter BROTLI_COMPRESS",
        base: "right",
        change: |text| apache(&text, "SetOutputFilter BROTLI_COMPRESS"),
        coding: "br",
    },
    Case {
        middlebox: "lighttpd",
        configuration: "deflate.mimetypes …; server.stream-response-body = 0",
        base: "default",
        change: lighttpd,
        coding: "gzip",
    },
    Case {
        middlebox: "lighttpd",
        configuration: "deflate.mimetypes = (\"text/event-stream\")",
        base: "right",
        change: lighttpd,
        coding: "gzip",
    },
    Case {
        middlebox: "h2o",
        configuration: "compress: ON",
        base: "right",
        change: |text| text.replacen("hosts:", "compress: ON\nhosts:", 1),
        coding: "gzip",
    },
    Case {
        middlebox: "h2o",
        configuration: "compress: ON; is_compressible: yes",
        base: "right",
        change: |text| text.replacen("hosts:", H2O, 1),
        coding: "gzip",
    },
    Case {
        middlebox: "nghttpx",
        configuration: "default",
        base: "default",
        change: |text| text,
        coding: "gzip",
    },
];

const NGINX: &str =
    "http { gzip on; gzip_proxied any; gzip_types text/event-stream;";

const CADDY: &str = "encode {
        gzip
        minimum_length 1
        match header Content-Type text/event-stream*
    }";

/// h2o does not count events among text, unless it is told.
const H2O: &str = "compress: ON
file.mime.addtypes:
  \"text/event-stream\":
    extensions: [\".sse\"]
    is_compressible: yes
hosts:";

fn haproxy(text: String) -> String {
    text.replacen("mode http", "compression algo gzip\n    mode http", 1)
}

fn lighttpd(text: String) -> String {
    text + "\nserver.modules += (\"mod_deflate\")\n\
        deflate.mimetypes = (\"text/event-stream\")\n\
        deflate.allowed-encodings = (\"gzip\")\n"
}

fn apache(text: &str, lines: &str) -> String {
    let module = |name: &str| {
        format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
    };
    let modules: String = ["deflate", "brotli", "filter"].map(module).concat();
    format!("{text}\n{modules}{lines}\n")
}
