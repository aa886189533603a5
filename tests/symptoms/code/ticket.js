// ANCHOR: listen
function listen(last = '') { // headers are { authorization: `Bearer ${token}` }
  const again = (last) => setTimeout(listen, 1_000 + Math.random() * 2_000, last);
  const answer = fetch('tickets', { method: 'POST', headers }).then((answer) => answer.text());
  answer.then((ticket) => follow(ticket, last, again), () => again(last));
}
// ANCHOR_END: listen
// ANCHOR: follow
function follow(ticket, last, again) { // a ticket is good for one connection
  const source = new EventSource(`events?ticket=${ticket}&after=${encodeURIComponent(last)}`);
  source.onmessage = (event) => { last = event.lastEventId; show(event.data); };
  source.onerror = () => { source.close(); again(last); };
}
// ANCHOR_END: follow
