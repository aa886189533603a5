arrivals() { curl -sN --trace-time --trace-ascii - "$@" | grep 'Recv data'; }
arrivals "$APP"               # 1
arrivals "$SITE"              # 2
arrivals --compressed "$SITE" # 3
