//! The boxes: the configurations of each, and how its program is started.

/// A box: its configurations, and how its program is started.
pub struct Kind {
    pub name: &'static str,
    pub program: &'static str,
    default: &'static str,
    right: &'static str,
    pub arguments: &'static [&'static str],
    pub version: &'static str,
    /// Changes that make its limit of silence 5 s: the first text that is there becomes the
    /// second. Empty for a box without such a limit.
    silence: &'static [(&'static str, &'static str)],
    /// Further arguments for the same.
    pub short: &'static [&'static str],
    /// Changes that let it compress streams of events. Empty for a box that never does.
    gzip: &'static [(&'static str, &'static str)],
    /// How long it lets a stream be silent otherwise: default, and right.
    pub limits: [&'static str; 2],
    /// Runs of the panel, for a machine that does not have the box.
    pub recorded: &'static str,
}

/// The configurations stand in a folder for each box. In the arguments, FILE is the
/// configuration's file, FOLDER the folder that it is in, ADDR the address of the box, and
/// MODULES the folder of lighttpd's modules.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "nginx",
        program: "nginx",
        default: include_str!("nginx/default.conf"),
        right: include_str!("nginx/right.conf"),
        arguments: &["-p", "FOLDER", "-e", "stderr", "-c", "FILE"],
        version: "-v",
        silence: &[
            ("proxy_read_timeout 60s;", "proxy_read_timeout 5s;"),
            ("location / {", "location / {\nproxy_read_timeout 5s;"),
        ],
        short: &[],
        gzip: &[(
            "location / {",
            "location / {\ngzip on;\ngzip_proxied any;\ngzip_min_length 0;\n\
             gzip_types text/event-stream;",
        )],
        limits: ["60 s", "60 s"],
        recorded: include_str!("recorded/nginx.jsonl"),
    },
    Kind {
        name: "haproxy",
        program: "haproxy",
        default: include_str!("haproxy/default.cfg"),
        right: include_str!("haproxy/right.cfg"),
        arguments: &["-f", "FILE"],
        version: "-v",
        silence: &[
            ("timeout server 60s", "timeout server 5s"),
            ("timeout server 50000", "timeout server 5000"),
        ],
        short: &[],
        gzip: &[(
            "\nbackend program",
            "\nbackend program\n    compression algo gzip\n    \
             compression type text/event-stream",
        )],
        limits: ["50 s", "60 s"],
        recorded: include_str!("recorded/haproxy.jsonl"),
    },
    Kind {
        name: "caddy",
        program: "caddy",
        default: include_str!("caddy/default.caddyfile"),
        right: include_str!("caddy/right.caddyfile"),
        arguments: &["run", "--adapter", "caddyfile", "--config", "FILE"],
        version: "version",
        silence: &[("read_timeout 60s", "read_timeout 5s")],
        short: &[],
        gzip: &[(
            "reverse_proxy 127",
            "encode {\ngzip\nminimum_length 1\nmatch {\n\
             header Content-Type text/event-stream*\n}\n}\nreverse_proxy 127",
        )],
        limits: ["", "60 s"],
        recorded: include_str!("recorded/caddy.jsonl"),
    },
    Kind {
        name: "varnish",
        program: "varnishd",
        default: include_str!("varnish/default.vcl"),
        right: include_str!("varnish/right.vcl"),
        arguments: &[
            "-F",
            "-j",
            "none",
            "-n",
            "FOLDER/varnish",
            "-a",
            "ADDR",
            "-f",
            "FILE",
        ],
        version: "-V",
        silence: &[],
        short: &["-p", "between_bytes_timeout=5", "-p", "pipe_timeout=5"],
        gzip: &[(
            "backend default {",
            "sub vcl_backend_response {\nset beresp.do_gzip = true;\n}\n\
             backend default {",
        )],
        limits: ["60 s", "60 s"],
        recorded: include_str!("recorded/varnish.jsonl"),
    },
    Kind {
        name: "apache",
        program: "apache2",
        default: include_str!("apache/default.conf"),
        right: include_str!("apache/right.conf"),
        arguments: &["-D", "FOREGROUND", "-d", "FOLDER", "-f", "FILE"],
        version: "-v",
        silence: &[
            ("ProxyTimeout 60", "ProxyTimeout 5"),
            ("Timeout 300", "Timeout 5"),
        ],
        short: &[],
        gzip: &[(
            "ServerName localhost",
            "LoadModule filter_module /usr/lib/apache2/modules/mod_filter.so\n\
             LoadModule deflate_module /usr/lib/apache2/modules/mod_deflate.so\n\
             AddOutputFilterByType DEFLATE text/event-stream\nServerName localhost",
        )],
        limits: ["300 s", "60 s"],
        recorded: include_str!("recorded/apache.jsonl"),
    },
    Kind {
        name: "lighttpd",
        program: "lighttpd",
        default: include_str!("lighttpd/default.conf"),
        right: include_str!("lighttpd/right.conf"),
        arguments: &["-D", "-m", "MODULES", "-f", "FILE"],
        version: "-v",
        silence: &[("\"read-timeout\" => 60", "\"read-timeout\" => 5")],
        short: &[],
        gzip: &[],
        limits: ["", "60 s"],
        recorded: include_str!("recorded/lighttpd.jsonl"),
    },
    Kind {
        name: "h2o",
        program: "h2o",
        default: include_str!("h2o/default.conf"),
        right: include_str!("h2o/right.conf"),
        arguments: &["-c", "FILE"],
        version: "-v",
        silence: &[
            ("proxy.timeout.io: 60000", "proxy.timeout.io: 5000"),
            ("hosts:", "proxy.timeout.io: 5000\nhosts:"),
        ],
        short: &[],
        gzip: &[(
            "hosts:",
            "compress: [gzip]\nfile.mime.addtypes:\n  \"text/event-stream\":\n    \
             extensions: [\".sse\"]\n    is_compressible: yes\nhosts:",
        )],
        limits: ["30 s", "60 s"],
        recorded: include_str!("recorded/h2o.jsonl"),
    },
    Kind {
        name: "nghttpx",
        program: "nghttpx",
        default: include_str!("nghttpx/default.conf"),
        right: include_str!("nghttpx/right.conf"),
        arguments: &["--conf=FILE"],
        version: "-v",
        silence: &[
            ("backend-read-timeout=60s", "backend-read-timeout=5s"),
            ("backend=", "backend-read-timeout=5s\nbackend="),
        ],
        short: &[],
        gzip: &[],
        limits: ["60 s", "60 s"],
        recorded: include_str!("recorded/nghttpx.jsonl"),
    },
];

impl Kind {
    pub fn find(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }

    /// The configuration's text before a server on this port, listening on that one.
    pub fn configuration(
        &self,
        wish: &Wish,
        server: u16,
        port: u16,
        admin: u16,
    ) -> String {
        let text = if wish.is_right { self.right } else { self.default };
        let mut text = text.replace("8698", "PORT");
        let changes = [(wish.is_silent, self.silence), (wish.compresses, self.gzip)];
        for (_, changes) in changes.into_iter().filter(|(is_wanted, _)| *is_wanted) {
            if let Some((from, to)) =
                changes.iter().find(|(from, _)| text.contains(from))
            {
                text = text.replace(from, to);
            }
        }
        // A port may have another one's digits in it.
        let text = text.replace("8690", "BOX").replace("2019", "ADMIN");
        text.replace("PORT", &server.to_string())
            .replace("BOX", &port.to_string())
            .replace("ADMIN", &admin.to_string())
    }
}

/// How a box is wanted.
pub struct Wish {
    pub is_right: bool,
    pub is_silent: bool,
    pub compresses: bool,
}
