function connect(last = '') { // comes back after a 204, 401 and 404, too: the chapter's wrapper does not
  const source = new EventSource(`events?after=${encodeURIComponent(last)}`);
  source.onmessage = (event) => { last = event.lastEventId; show(event.data); };
  source.onerror = () => source.readyState === EventSource.CLOSED && setTimeout(connect, 2_000 + Math.random() * 4_000, last);
}
