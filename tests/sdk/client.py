import sys
import time

import httpx
from httpx_sse import SSEError, connect_sse

# ANCHOR: client
def events(url):
    """Yields events until the server says 204, or refuses for good."""
    last = ""
    wait = 3.0
    silence = httpx.Timeout(10, read=60)
    while True:
        try:
            headers = {"Last-Event-ID": last} if last else {}
            with httpx.Client(timeout=silence) as client:
                with connect_sse(client, "GET", url, headers=headers) as source:
                    if source.response.status_code == 204:
                        return
                    # An answer with one of these codes has no events, and may be another
                    # one soon: try again.
                    if source.response.status_code not in (429, 500, 502, 503, 504):
                        source.response.raise_for_status()
                        for event in source.iter_sse():
                            last = event.id or last
                            wait = (event.retry or wait * 1000) / 1000
                            yield event
        except SSEError:  # the type is not text/event-stream
            raise
        except httpx.TransportError as error:
            print(f"lost: {error!r}", file=sys.stderr)
        time.sleep(wait)
# ANCHOR_END: client


for event in events(sys.argv[1]):
    print(event.event, event.data, flush=True)
