#!/usr/bin/env python3
"""Records what a model server answers, one line for each HTTP chunk.

    record.py http://127.0.0.1:8080/v1/chat/completions llama.cpp-plain.jsonl \\
        --server 'llama.cpp server' --version b1 --model 'gemma-3-270m Q4_K_M' \\
        --case plain --body '{"stream": true, "messages": […]}'

The first line of the file says which server, which request and which answer; every
following line is one chunk of the body: {"ms": since the request was sent, "text": …}.

Client libraries join and split chunks as they like, so this reads the socket itself:
a line is a chunk exactly as the server framed it (RFC 9112, section 7.1). A body with
a Content-Length is one line. Where the server closed the connection without the last
chunk, the first line has "cut": true. The headers go to stderr, and a warning when a
chunk ended inside a character, for then it was joined to the next.
"""

import argparse
import json
import socket
import sys
import time
from urllib.parse import urlsplit

DEADLINE = 120  # seconds without a byte


def main():
    args = arguments()
    url = urlsplit(args.url)

    with socket.create_connection((url.hostname, url.port or 80), DEADLINE) as sock:
        sock.sendall(request(url, args.body.encode(), args.header))
        sent = time.monotonic()
        stream = sock.makefile("rb")
        status, headers = head(stream)
        head_ms = round((time.monotonic() - sent) * 1000)
        note(f"{args.output}: {status} after {head_ms} ms {json.dumps(headers)}")
        body = Body(stream, headers)
        lines = [
            {"ms": round((at - sent) * 1000), "text": text}
            for at, text in whole_characters(body.chunks())
        ]

    try:
        sent_body = json.loads(args.body)
    except ValueError:  # a body that is wrong on purpose
        sent_body = args.body
    first = {
        "server": args.server,
        "version": args.version,
        "model": args.model,
        "case": args.case,
        "request": sent_body,
        "status": status,
        "content_type": headers.get("content-type"),
    }
    if body.cut:
        first["cut"] = True
    with open(args.output, "w", encoding="utf-8") as file:
        for line in [first, *lines]:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("output")
    for name in ("server", "version", "model", "case", "body"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--header", action="append", default=[], metavar="'Name: value'")
    return parser.parse_args()


def request(url, body, more_headers):
    lines = [
        f"POST {url.path} HTTP/1.1",
        f"Host: {url.netloc}",
        "Content-Type: application/json",
        "Accept: text/event-stream",
        f"Content-Length: {len(body)}",
        *more_headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def head(stream):
    status = int(stream.readline().split()[1])
    headers = {}
    while line := stream.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    return status, headers


class Body:
    def __init__(self, stream, headers):
        self.stream = stream
        self.chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        self.length = int(headers.get("content-length", -1))
        self.cut = False  # the connection was closed before the end of the body

    def chunks(self):
        """Yields (when it was whole, its bytes) for each chunk."""
        while self.chunked:
            size_line = self.stream.readline()
            size = int(size_line.split(b";")[0], 16) if size_line else -1
            data = self.stream.read(size) if size > 0 else b""
            if len(data) != size:
                self.cut = True
                return
            self.stream.readline()  # the CRLF after the data
            if size == 0:
                return
            yield time.monotonic(), data
        data = self.stream.read(self.length)
        self.cut = len(data) < self.length
        if data:
            yield time.monotonic(), data


def whole_characters(parts):
    """Joins a chunk that ends inside a UTF-8 character to the one after it."""
    held = b""
    at = 0
    for at, data in parts:
        held += data
        try:
            text = held.decode()
        except UnicodeDecodeError as error:
            if error.end < len(held):
                raise  # wrong in the middle: not UTF-8 at all
            note("a chunk ended inside a character: joined to the next")
            continue
        held = b""
        yield at, text
    if held:
        note("the body ended inside a character")
        yield at, held.decode(errors="replace")


def note(text):
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
