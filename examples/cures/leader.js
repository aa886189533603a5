// One stream for all tabs of an origin: over HTTP/1.1 a browser opens six connections to it.
//   share('events', ['note', 'resync'], (event) => console.log(event.type, event.data));

/** Calls `onEvent` in each tab that shares this URL. One tab holds a lock, and the stream; when
    it is closed, another one gets the lock, and asks for what comes `after` the last event. */
export function share(url, types, onEvent) {
  const channel = new BroadcastChannel(url);
  const address = new URL(url, location);
  function hear(event) {
    if (event.lastEventId) address.searchParams.set('after', event.lastEventId);
    onEvent(event);
  }
  channel.onmessage = (message) => hear(message.data);
  // `navigator.locks` is there on localhost and over HTTPS alone.
  navigator.locks.request(url, () => new Promise(function open() {
    const source = new EventSource(address);
    const pass = ({ type, data, lastEventId }) => {
      hear({ type, data, lastEventId });
      channel.postMessage({ type, data, lastEventId });
    };
    for (const type of types) source.addEventListener(type, pass);
    // It comes back by itself after a lost connection, and not after a 502.
    source.onerror = () => source.readyState === EventSource.CLOSED
      && setTimeout(open, 2_000 + Math.random() * 4_000);
  }));
}
