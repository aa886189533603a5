// Only if every event has an id of its own: one without an id comes with that of the event before, and is lost here.
const id = event.lastEventId;
if (id && seen.has(id)) return; // const seen = new Set(), beside the EventSource
seen.add(id);
