// ANCHOR: client
import { EventSource } from 'eventsource';

// It works as in the browser: it parses, comes back, and brings the last event ID along. It
// can send your own headers, too.
const source = new EventSource(process.argv[2], {
  fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, 'X-Reader': 'ann' } }),
});
source.onmessage = (event) => console.log(event.type, event.data);
source.onerror = (event) => {
  console.error('lost', event.message ?? '');
  if (source.readyState === EventSource.CLOSED) process.exit(1);
};
// ANCHOR_END: client
