// Reloads the page when the book was built again. Browsers open six HTTP/1.1 connections
// to an origin, so one tab listens for all: the one that holds the lock.
const tag = document.getElementById('reload');
const channel = new BroadcastChannel('book-build');

function compare(build) {
  if (build === tag.dataset.build || sessionStorage.getItem('build') === build) return;
  // Once for each build: a page that still is another one must not reload for ever.
  sessionStorage.setItem('build', build);
  location.reload();
}

channel.onmessage = (event) => compare(event.data);

// `navigator.locks` is there on localhost and over HTTPS alone.
navigator.locks?.request('book-reload', () => new Promise(() => {
  const builds = new EventSource(new URL('reload', tag.src));
  builds.addEventListener('build', (event) => {
    channel.postMessage(event.data);
    compare(event.data);
  });
}));
