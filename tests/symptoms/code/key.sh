KEY=$(date +%s)-$$ # one for each event, and the same each time that it is sent
until curl -sf "$URL" -H "Idempotency-Key: $KEY" --json "$EVENT"; do sleep 1; done
