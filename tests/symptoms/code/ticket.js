async function listen(last = '') { // headers are { authorization: `Bearer ${token}` }
  const ticket = await (await fetch('tickets', { method: 'POST', headers })).text(); // for one connection
  const source = new EventSource(`events?ticket=${ticket}&after=${encodeURIComponent(last)}`);
  source.onmessage = (event) => { last = event.lastEventId; show(event.data); };
  source.onerror = () => { source.close(); setTimeout(listen, 1_000 + Math.random() * 2_000, last); }; }
