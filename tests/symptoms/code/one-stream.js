const tabs = new BroadcastChannel('events'), left = new AbortController(); let last = ''; tabs.onmessage = ({ data: [id, text] }) => { last = id; show(text); };
onpagehide = () => left.abort(); onpageshow = ({ persisted }) => persisted && location.reload(); // a page that is kept would keep the lock
navigator.locks.request('events', { signal: left.signal }, () => new Promise(function open(letGo) { const source = new EventSource(`events?after=${encodeURIComponent(last)}`);
  left.signal.onabort = () => { source.close(); letGo(); }; source.onmessage = ({ lastEventId: id, data }) => { last = id; tabs.postMessage([id, data]); show(data); };
  source.onerror = () => source.readyState === EventSource.CLOSED && setTimeout(open, 2_000 + Math.random() * 4_000, letGo); })).catch(() => {}); // left without the lock
