"""Prints a stream of bytes as text, chunk by chunk: curl -sN URL | python3 letters.py

A letter that lies in two chunks waits for its end: chunk.decode() would break it, or raise.
"""

import codecs
import sys

decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
while chunk := sys.stdin.buffer.read1():
    print(decoder.decode(chunk), end="", flush=True)
print(decoder.decode(b"", final=True), end="")
