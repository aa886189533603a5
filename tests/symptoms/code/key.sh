KEY=$(date +%s)-$$ # one for each event, and the same each time that it is sent
post() { curl -so /dev/null -w '%{http_code}' "$URL" -H "Idempotency-Key: $KEY" --json "$EVENT"; }
until CODE=$(post) && [ "$CODE" -lt 500 ]; do sleep 1; done # a 4xx stays one
echo "$CODE"
