"""Prints what the official Python SDK gets from a model, as one line of JSON.

    OPENAI_BASE_URL=http://127.0.0.1:8698/v1 OPENAI_API_KEY=none \\
        target/sdk/python/bin/python tests/sdk/sdk.py "What is a heartbeat?" 40
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

prompt = sys.argv[1]
most = int(sys.argv[2])
messages = [{"role": "user", "content": prompt}]
client = openai.OpenAI()
completions = client.chat.completions

models = [model.id for model in client.models.list()]
model = models[0]

answer = completions.create(model=model, messages=messages)
whole = {
    "content": answer.choices[0].message.content,
    "finish_reason": answer.choices[0].finish_reason,
    "usage": answer.usage.to_dict(),
}

stream = {"role": None, "tokens": [], "finish_reason": None, "usage": None}
for chunk in completions.create(
    model=model,
    messages=messages,
    max_completion_tokens=most,
    stream=True,
    stream_options={"include_usage": True},
):
    for choice in chunk.choices:
        stream["role"] = choice.delta.role or stream["role"]
        if choice.delta.content:
            stream["tokens"].append(choice.delta.content)
        stream["finish_reason"] = choice.finish_reason or stream["finish_reason"]
    if chunk.usage:
        stream["usage"] = chunk.usage.to_dict()

# Let the SDK put the pieces together in its own way.
with completions.stream(
    model=model, messages=messages, max_completion_tokens=most
) as events:
    events.until_done()
    choice = events.current_completion_snapshot.choices[0]
pieces = {"content": choice.message.content, "finish_reason": choice.finish_reason}

try:
    completions.create(model="nobody", messages=messages, stream=True)
    unknown = None
except openai.APIStatusError as error:
    unknown = {
        "type": type(error).__name__,
        "status": error.status_code,
        "error": error.body,
    }

print(
    json.dumps(
        {
            "models": models,
            "whole": whole,
            "stream": stream,
            "pieces": pieces,
            "unknown": unknown,
        }
    )
)
