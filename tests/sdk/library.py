import sys

import httpx
from httpx_sse import connect_sse

with httpx.Client() as client, connect_sse(client, "GET", sys.argv[1]) as source:
    for event in source.iter_sse():
        print(event.event, event.data, event.retry, flush=True)
