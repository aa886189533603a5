"""Reads the streams on stdin with client.py, and prints what it makes of each."""

import json
import sys

from client import lines, parse

for case in json.load(sys.stdin):
    data = bytes(case["bytes"])
    chunks = [data[at : at + case["size"]] for at in range(0, len(data), case["size"])]
    stream = {"id": "", "retry": None}
    events = [
        {"type": kind, "data": text, "lastEventId": last}
        for kind, text, last in parse(lines(chunks), stream)
    ]
    retry = stream["retry"]
    retry = None if retry is None else round(retry * 1000)
    print(json.dumps({"events": events, "last": stream["id"], "retry": retry}))
