const parser = createParser({ onEvent: (event) => show(event.data) }); // of npm's eventsource-parser
for (const text of texts) parser.feed(text);
