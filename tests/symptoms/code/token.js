const parser = createParser({ onEvent: ({ data }) => show(data) }); // import { createParser } from 'eventsource-parser'
const response = await fetch('events', { headers: { authorization: `Bearer ${token}` } });
if (!response.ok) throw new Error(`refused: ${response.status}`);
const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
for (let part; !(part = await reader.read()).done;) parser.feed(part.value);
