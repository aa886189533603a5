curl -iN "$APP"               # 1. the program, as at http://127.0.0.1:8698/events
curl -iN "$SITE"              # 2. the address that the page asks, through all in between
curl -iN --compressed "$SITE" # 3. the same, as a browser asks
