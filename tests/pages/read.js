/** The longest reconnection time that is believed, in milliseconds: a day. */
export const DAY = 86_400_000;
/** The most that is kept of one event, in characters. */
const MAX_EVENT = 16 << 20;

// ANCHOR: read
/** Reads one stream to its end, and rejects if the connection is lost. `stream` has what
    outlives a connection: lastEventId, and retry. */
export async function read(url, onEvent, stream = {}) {
  const headers = { accept: 'text/event-stream' };
  const id = inBytes(stream.lastEventId ?? '');
  if (/^[^\0-\x08\n-\x1f\x7f]+$/.test(id)) headers['last-event-id'] = id; // or no header can have it
  const response = await fetch(url, { headers, cache: 'no-store', signal: stream.signal });
  const type = essence(response.headers.get('content-type') ?? '');
  if (response.status !== 200 || type !== 'text/event-stream') {
    response.body?.cancel().catch(() => {});
    throw Object.assign(new Error(`${url}: ${response.status} ${type ?? ''}`), { response });
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const feed = lines(parser(stream, onEvent));
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      feed(value);
    }
  } finally {
    // Without this, an `onEvent` that throws would leave the connection open.
    reader.cancel().catch(() => {});
  }
}

/** A text in which each character stands for a byte of its UTF-8, as `fetch` takes headers. */
function inBytes(text) {
  return Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join('');
}
// ANCHOR_END: read

// ANCHOR: parser
/** Cuts text into lines. A CR ends one at once, and an LF behind it belongs to it. */
function lines(onLine) {
  let unfinished = '';
  let isAfterCr = false;
  return (text) => {
    const [first, ...others] = text.slice(isAfterCr && text[0] === '\n' ? 1 : 0).split(/\r\n?|\n/);
    isAfterCr = text.endsWith('\r');
    unfinished += first;
    for (const line of others) {
      onLine(unfinished);
      unfinished = line;
    }
    if (unfinished.length > MAX_EVENT) throw new RangeError('an event is too large');
  };
}

/** Interprets lines by section 9.2.6 of the standard. */
function parser(stream, onEvent) {
  let type = '';
  let data = '';
  let id;
  return (line) => {
    const [, name, value = ''] = line.match(/^([^:]*)(?:: ?(.*))?$/s);
    if (name === 'data') data += `${value}\n`;
    if (name === 'event') type = value;
    if (name === 'id' && !value.includes('\0')) id = value;
    if (name === 'retry' && /^\d{1,19}$/.test(value)) stream.retry = Math.min(Number(value), DAY);
    if (type.length + data.length > MAX_EVENT) throw new RangeError('an event is too large');
    if (line !== '') return;
    stream.lastEventId = id ?? stream.lastEventId ?? ''; // an id counts without data, too
    const event = { type: type || 'message', data: data.slice(0, -1), lastEventId: stream.lastEventId };
    const isEvent = data !== '';
    type = data = '';
    id = undefined;
    if (isEvent) onEvent(event);
  };
}
// ANCHOR_END: parser

// ANCHOR: type
/** The type in a header, without parameters. Of several, the last valid one counts. */
export function essence(header) {
  const types = header.match(/(?:"(?:\\.|[^"\\])*"?|[^,"])+/g) ?? [];
  const valid = /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+$/;
  return types.map((type) => type.split(';')[0].trim().toLowerCase())
    .findLast((type) => valid.test(type) && type !== '*/*');
}
// ANCHOR_END: type
