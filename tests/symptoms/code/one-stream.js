const tabs = new BroadcastChannel('events');
tabs.onmessage = ({ data }) => show(data);
navigator.locks.request('events', () => new Promise(() => { // the tab that has the lock
  new EventSource('events').onmessage = ({ data }) => { tabs.postMessage(data); show(data); };
}));
