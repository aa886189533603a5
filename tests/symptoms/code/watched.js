// `watched`, and `recover` that it calls, are two listings of the section at the link: take both.
const stop = watched('events', ['message'], (event) => show(event.data), 40_000); // heartbeats come every 15 s
