// `shared.js` and `stream.js` are the two files of the chapter at the link: copy both.
const { share } = await import('./shared.js');
share('events', { on: { message: (event) => show(event.data) } }); // one tab has the stream, and all hear it
