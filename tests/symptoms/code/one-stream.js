const tabs = new BroadcastChannel('events'); let last = ''; tabs.onmessage = ({ data: [id, text] }) => { last = id; show(text); };
const left = new AbortController(); // a page that is left may be kept, with its lock: it lets go, and starts again when it is back
onpagehide = () => left.abort(); onpageshow = ({ persisted }) => persisted && location.reload();
navigator.locks.request('events', { signal: left.signal }, () => new Promise(function open(letGo) { // one tab has the lock, then the next
  const source = new EventSource(`events?after=${encodeURIComponent(last)}`);
  left.signal.onabort = () => { source.close(); letGo(); };
  source.onmessage = ({ lastEventId: id, data }) => { last = id; tabs.postMessage([id, data]); show(data); };
  source.onerror = () => source.readyState === EventSource.CLOSED && setTimeout(open, 2_000 + Math.random() * 4_000, letGo);
})).catch(() => { /* left before it had the lock */ });
