curl -iN "$APP"               # 1
curl -iN "$SITE"              # 2
curl -iN --compressed "$SITE" # 3
