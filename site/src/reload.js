// Reloads the page when the book was built again, and hands on how the reader's exercises stand
// (`theme/exercises.js` shows it). Browsers open six HTTP/1.1 connections
// to an origin, so one tab listens for all: the one that holds the lock.
const tag = document.getElementById('reload');
const channel = new BroadcastChannel('book-build');
const exercises = new BroadcastChannel('book-exercises');

function compare(build) {
  if (build === tag.dataset.build || sessionStorage.getItem('build') === build) return;
  // Once for each build: a page that still is another one must not reload for ever.
  sessionStorage.setItem('build', build);
  location.reload();
}

channel.onmessage = (event) => compare(event.data);

// A page that was left can come back as it was, unless it holds a lock.
let leave;
function listen() {
  leave = new AbortController();
  const left = leave.signal;
  // `navigator.locks` is there on localhost and over HTTPS alone.
  navigator.locks?.request('book-reload', { signal: left }, () => new Promise((release) => {
    const builds = new EventSource(new URL('reload', tag.src));
    builds.addEventListener('build', (event) => {
      channel.postMessage(event.data);
      compare(event.data);
    });
    builds.addEventListener('exercises', (event) => exercises.postMessage(event.data));
    left.addEventListener('abort', () => {
      builds.close();
      release();
    });
  })).catch(() => { /* left before it had the lock */ });
}
addEventListener('pagehide', () => leave.abort());
addEventListener('pageshow', (event) => { if (event.persisted) listen(); });
listen();
