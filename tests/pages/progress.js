// ANCHOR: listen
const job = new EventSource('jobs/ID');
job.addEventListener('done', () => console.log('done'));
// ANCHOR_END: listen
