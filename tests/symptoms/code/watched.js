const stop = watched('events', ['message'], (event) => show(event.data), 40_000); // heartbeats come every 15 s
