const tabs = new BroadcastChannel('events'); let last = '';
tabs.onmessage = ({ data: [id, text] }) => { last = id; show(text); };
navigator.locks.request('events', () => new Promise(() => { // one tab has the lock, then the next
  new EventSource(`events?after=${last}`).onmessage = ({ lastEventId: id, data }) => { last = id; tabs.postMessage([id, data]); show(data); };
}));
