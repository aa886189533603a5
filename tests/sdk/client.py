import codecs
import email.utils
import json
import random
import re
import sys
import time

import httpx

DAY = 86400
TOKEN = r"[\w!#$%&'*+.^`|~-]+"


# ANCHOR: parser
def lines(chunks):
    """Cuts bytes into lines. A CR ends one at once, and an LF behind it belongs to it."""
    decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
    unfinished, after_cr = [], False
    for chunk in chunks:
        text = decode(chunk)
        if not text:
            continue
        first, *others = re.split("\r\n?|\n", text[after_cr and text[0] == "\n" :])
        after_cr = text[-1] == "\r"
        unfinished.append(first)
        for line in others:
            yield "".join(unfinished)
            unfinished = [line]


def parse(lines, stream):
    """Turns lines into events, by section 9.2.6 of the standard. `stream` keeps what
    outlives a connection: the last event ID, and the time in seconds to wait."""
    kind, data, new_id = "", [], None
    for line in lines:
        # ANCHOR: one_space
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        # ANCHOR_END: one_space
        if name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            new_id = value
        elif name == "retry" and re.fullmatch("[0-9]{1,19}", value):
            stream["retry"] = min(int(value) / 1000, DAY)
        if line:
            continue
        if new_id is not None:  # an id counts without data, too
            stream["id"] = new_id
        if data:
            yield kind or "message", "\n".join(data), stream["id"]
        kind, data, new_id = "", [], None
# ANCHOR_END: parser


# ANCHOR: client
def events(url, stream):
    """Yields events until the server says 204, or refuses for good."""
    fruitless = 0  # attempts in a row that have brought no event
    client = httpx.Client(timeout=httpx.Timeout(10, read=60), follow_redirects=True)
    while True:
        after = 0  # how long the server asks us to stay away
        fruitless += 1
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        last = stream["id"].strip(" \t")
        if re.fullmatch(r"[^\0-\x08\n-\x1f\x7f]+", last):  # or no header can have it
            headers["Last-Event-ID"] = last.encode()  # as UTF-8
        try:
            with client.stream("GET", url, headers=headers) as response:
                if response.status_code == 204:
                    return
                if passes(response.status_code):
                    after = retry_after(response.headers.get("retry-after", ""))
                elif response.status_code != 200 or not is_stream(response):
                    raise SystemExit(f"refused: {response.status_code}")
                else:
                    for event in parse(lines(response.iter_bytes()), stream):
                        fruitless = 0
                        yield event
        except httpx.UnsupportedProtocol:
            raise
        except httpx.TransportError as error:
            print(f"lost: {error!r}", file=sys.stderr)
        retry = max(stream["retry"], 0.1)
        doubled = retry * 2 ** min(max(fruitless - 1, 0), 20)
        wait = max(min(doubled, max(retry, 60)), after)
        time.sleep(wait * random.uniform(1, 1.5))
# ANCHOR_END: client


# ANCHOR: answers
def passes(status):
    """Whether another attempt may get a better answer than this."""
    return status in (408, 425, 429) or status >= 500


def is_stream(response):
    """Looks at the type: of several, the last valid one counts, without parameters."""
    header = response.headers.get("content-type", "")
    types = re.findall(r'(?:"(?:\\.|[^"\\])*"?|[^,"])+', header)
    types = [kind.partition(";")[0].strip().lower() for kind in types]
    valid = [kind for kind in types if re.fullmatch(f"{TOKEN}/{TOKEN}", kind, re.A)]
    valid = [kind for kind in valid if kind != "*/*"]
    return valid[-1:] == ["text/event-stream"]


def retry_after(value):
    """Reads Retry-After, which is a number of seconds or a date."""
    if re.fullmatch("[0-9]{1,9}", value):
        return min(int(value), DAY)
    try:
        date = email.utils.parsedate_to_datetime(value)
        return min(max(date.timestamp() - time.time(), 0), DAY)
    except ValueError:
        return 0
# ANCHOR_END: answers


if __name__ == "__main__":
    for kind, data, last in events(sys.argv[1], {"id": "", "retry": 3}):
        print(json.dumps({"type": kind, "data": data, "lastEventId": last}), flush=True)
