// ANCHOR: watchdog
/** Closes and reopens a stream in which nothing has happened for `silence` milliseconds. A
    page sees no comments, so the server sends its heartbeat as an event:
    `event: heartbeat`. */
function watched(url, types, handle, silence) {
  let source;
  let timer;
  let seen;
  let last = '';
  const end = new AbortController();
  const sign = () => {
    seen = Date.now();
    clearTimeout(timer);
    timer = setTimeout(open, silence);
  };
  function open() {
    source?.close();
    source = new EventSource(last ? `${url}?lastEventId=${encodeURIComponent(last)}` : url);
    for (const type of ['open', 'heartbeat', ...types]) {
      source.addEventListener(type, (event) => {
        last = event.lastEventId || last;
        sign();
        handle(event);
      });
    }
    sign();
  }
  // The timers of a phone sleep with it, so look at the clock when it wakes up.
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && Date.now() - seen > silence) open();
  }, { signal: end.signal });
  open();
  return () => { end.abort(); clearTimeout(timer); source.close(); };
}
// ANCHOR_END: watchdog
