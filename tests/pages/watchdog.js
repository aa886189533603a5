// ANCHOR: watchdog
/** Closes and reopens a stream in which nothing has happened for `silence` milliseconds. A
    page sees no comments, so the server sends its heartbeat as an event:
    `event: heartbeat`. Where there was an answer, it leaves the rest to `recover`. */
function watched(url, types, handle, silence) {
  let source;
  let timer;
  let seen;
  const end = new AbortController();
  // ANCHOR: silence
  const sign = () => {
    seen = Date.now();
    clearTimeout(timer);
    timer = setTimeout(check, silence);
  };
  function open() {
    const last = source?.lastEventId;
    source?.close();
    source = recover(url, ['heartbeat', ...types], (event) => {
      if (event.type !== 'error') sign();
      handle(event);
    }, last);
  }
  function check() {
    // A stream that is CLOSED was refused: `recover` opens it again, or knows better.
    if (source.readyState !== EventSource.CLOSED) open();
    sign();
  }
  // ANCHOR_END: silence
  // The timers of a phone sleep with it, so look at the clock when it wakes up.
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && Date.now() - seen > silence) check();
  }, { signal: end.signal });
  open();
  sign();
  return () => { end.abort(); clearTimeout(timer); source.close(); };
}
// ANCHOR_END: watchdog
