heard=$(curl -siN -m 3 "$URL") # all that comes within three seconds
echo "$heard" | grep -qi '^content-type: text/event-stream' || { echo 'no stream of events'; exit 1; }
echo "$heard" | grep -q '^data:' || { echo 'no event within three seconds'; exit 1; }
