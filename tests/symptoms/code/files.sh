ulimit -n "$(ulimit -Hn)" # systemd: LimitNOFILE=65536
