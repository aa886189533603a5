// Reads the streams on stdin with read.js, and prints what it makes of each.
import { read } from './read.js';

let input = '';
for await (const text of process.stdin) input += text;
for (const { bytes, size } of JSON.parse(input)) {
  const body = new ReadableStream({
    start(controller) {
      for (let at = 0; at < bytes.length; at += size) {
        controller.enqueue(Uint8Array.from(bytes.slice(at, at + size)));
      }
      controller.close();
    },
  });
  globalThis.fetch = async () => new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  const events = [];
  const stream = {};
  await read('', (event) => events.push(event), stream);
  console.log(JSON.stringify({ events, last: stream.lastEventId ?? '', retry: stream.retry ?? null }));
}
