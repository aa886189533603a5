// Prints what the official Node SDK gets from a model, as one line of JSON.
//
//     cd target/sdk/node
//     OPENAI_BASE_URL=http://127.0.0.1:8698/v1 OPENAI_API_KEY=none \
//       node --input-type=module - "What is a heartbeat?" 40 < ../../../tests/sdk/sdk.mjs

import net from "node:net";
import OpenAI from "openai";

const { connect } = net.Socket.prototype;
net.Socket.prototype.connect = function (...options) {
  const { host } = options.flat()[0];
  if (host !== "127.0.0.1") throw new Error(`${host} is not this machine`);
  return connect.apply(this, options);
};

const prompt = process.argv[2];
const max_completion_tokens = Number(process.argv[3]);
const messages = [{ role: "user", content: prompt }];
const client = new OpenAI();
const { completions } = client.chat;

const models = [];
for await (const model of client.models.list()) models.push(model.id);
const model = models[0];

const answer = await completions.create({ model, messages });
const whole = {
  content: answer.choices[0].message.content,
  finish_reason: answer.choices[0].finish_reason,
  usage: answer.usage,
};

const stream = { role: null, tokens: [], finish_reason: null, usage: null };
for await (const chunk of await completions.create({
  model,
  messages,
  max_completion_tokens,
  stream: true,
  stream_options: { include_usage: true },
})) {
  for (const { delta, finish_reason } of chunk.choices) {
    stream.role = delta.role ?? stream.role;
    if (delta.content) stream.tokens.push(delta.content);
    stream.finish_reason = finish_reason ?? stream.finish_reason;
  }
  stream.usage = chunk.usage ?? stream.usage;
}

// Let the SDK put the pieces together in its own way.
const runner = completions.stream({ model, messages, max_completion_tokens });
const [choice] = (await runner.finalChatCompletion()).choices;
const pieces = { content: choice.message.content, finish_reason: choice.finish_reason };

let unknown = null;
try {
  await completions.create({ model: "nobody", messages, stream: true });
} catch (error) {
  unknown = { type: error.constructor.name, status: error.status, error: error.error };
}

console.log(JSON.stringify({ models, whole, stream, pieces, unknown }));
