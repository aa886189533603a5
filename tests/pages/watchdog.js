// ANCHOR: watchdog
/** Closes and reopens a stream in which nothing has happened for so long. A comment is no
    event, so the server sends its heartbeat as an event: `event: heartbeat`. */
function watched(url, types, handle, silence) {
  let source, timer;
  const sign = () => {
    clearTimeout(timer);
    timer = setTimeout(open, silence);
  };
  function open() {
    source?.close();
    source = new EventSource(url);
    for (const type of ['open', 'heartbeat', ...types]) {
      source.addEventListener(type, (event) => { sign(); handle(event); });
    }
    sign();
  }
  // A phone that wakes up has slept through its timers, too.
  document.addEventListener('visibilitychange', () => { if (!document.hidden) sign(); });
  open();
  return () => { clearTimeout(timer); source.close(); };
}
// ANCHOR_END: watchdog
