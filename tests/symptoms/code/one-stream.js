const tabs = new BroadcastChannel('events'); let last = ''; tabs.onmessage = ({ data: [id, text] }) => { last = id; show(text); };
navigator.locks.request('events', () => new Promise(function open() { // one tab has the lock, then the next
  const source = new EventSource(`events?after=${encodeURIComponent(last)}`);
  source.onmessage = ({ lastEventId: id, data }) => { last = id; tabs.postMessage([id, data]); show(data); };
  source.onerror = () => source.readyState === EventSource.CLOSED && setTimeout(open, 2_000 + Math.random() * 4_000); }));
