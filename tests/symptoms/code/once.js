if (seen.has(event.lastEventId)) return; // const seen = new Set(), beside the EventSource
seen.add(event.lastEventId);
