"""Prints what the official Python SDK gets from each of so many streams, as lines of JSON:
the text and the end, or the error.

    OPENAI_BASE_URL=http://127.0.0.1:8698/v1 OPENAI_API_KEY=none \\
        target/sdk/python/bin/python tests/sdk/streams.py 3
"""

import json
import sys

import openai


def stay_on_this_machine(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        host = arguments[1][0] if event == "socket.connect" else arguments[0]
        if host not in ("127.0.0.1", b"127.0.0.1"):
            raise PermissionError(f"{host} is not this machine")


sys.addaudithook(stay_on_this_machine)

client = openai.OpenAI(max_retries=0)
for _ in range(int(sys.argv[1])):
    text, end, error = "", None, None
    try:
        for chunk in client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
        ):
            for choice in chunk.choices or []:
                if getattr(choice, "index", None) not in (None, 0, "0"):
                    continue
                said = choice.delta and (choice.delta.content or choice.delta.refusal)
                if isinstance(said, str):
                    text += said
                end = choice.finish_reason or end
    except Exception as raised:  # whatever it is, it is the SDK's opinion
        error = f"{type(raised).__name__}: {raised}"
    # Half a character is none that JSON could have.
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    print(json.dumps({"text": text, "end": end, "error": error}), flush=True)
