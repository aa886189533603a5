self.addEventListener('fetch', (event) => {
  if (event.request.headers.get('accept') === 'text/event-stream') return;
  event.respondWith(fetch(event.request));
});
