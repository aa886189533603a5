// One stream for all tabs of an origin: over HTTP/1.1 a browser opens six connections to it.
//   share('events', ['note', 'resync'], (event) => console.log(event.type, event.data));

/** Calls `onEvent` in each tab that shares this URL. One tab holds a lock, and the stream; when
    it is closed or left, another one gets the lock, and asks for what comes `after` the last
    event. */
export function share(url, types, onEvent) {
  const channel = new BroadcastChannel(url);
  const address = new URL(url, location);
  function hear(event) {
    if (event.lastEventId) address.searchParams.set('after', event.lastEventId);
    onEvent(event);
  }
  channel.onmessage = (message) => hear(message.data);
  const left = new AbortController();
  function lead(letGo) {
    const source = new EventSource(address);
    left.signal.onabort = () => {
      source.close();
      letGo();
    };
    const pass = ({ type, data, lastEventId }) => {
      hear({ type, data, lastEventId });
      channel.postMessage({ type, data, lastEventId });
    };
    for (const type of types) source.addEventListener(type, pass);
    // It comes back by itself after a lost connection, and not after a 502.
    source.onerror = () => source.readyState === EventSource.CLOSED
      && setTimeout(lead, 2_000 + Math.random() * 4_000, letGo);
  }
  // `navigator.locks` is there on localhost and over HTTPS alone.
  navigator.locks.request(url, { signal: left.signal }, () => new Promise(lead))
    .catch(() => { /* left before it had the lock */ });
  // The browser may keep a page that is left, and its lock: the others would wait for it.
  addEventListener('pagehide', () => left.abort());
  addEventListener('pageshow', ({ persisted }) => persisted && location.reload());
}
