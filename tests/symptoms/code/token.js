const parser = createParser({ onEvent: ({ data }) => show(data) }); // of npm's eventsource-parser
const { body } = await fetch('events', { headers: { authorization: `Bearer ${token}` } });
const reader = body.pipeThrough(new TextDecoderStream()).getReader();
for (let part; !(part = await reader.read()).done;) parser.feed(part.value);
