let isOver = false; // createParser: import { createParser } from 'eventsource-parser'
const parser = createParser({ onEvent: ({ event, data }) => { if (event === 'done') isOver = true; else show(data); } });
const reader = (await fetch('events')).body.pipeThrough(new TextDecoderStream()).getReader();
for (let part; !(part = await reader.read()).done;) parser.feed(part.value); // throws at a cut
if (!isOver) throw new TypeError('broke off'); // the same: ask again, after the last id that you have
