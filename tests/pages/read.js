// ANCHOR: read
import { createParser } from './eventsource-parser.js';

/** Reads one stream to its end. Rejects if the connection is lost. */
export async function read(url, onEvent, lastEventId = '') {
  const response = await fetch(url, {
    headers: { accept: 'text/event-stream', ...lastEventId && { 'last-event-id': lastEventId } },
    cache: 'no-store',
  });
  const type = response.headers.get('content-type') ?? '';
  if (response.status !== 200 || !type.startsWith('text/event-stream')) {
    throw new Error(`${url}: ${response.status} ${type}`);
  }
  const parser = createParser({ onEvent, maxBufferSize: 1 << 20 });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    parser.feed(value);
  }
}
// ANCHOR_END: read
