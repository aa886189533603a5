import { setTimeout as pause } from 'node:timers/promises';

import { DAY, read } from './read.js';

// ANCHOR: client
/** Follows a stream until the server says 204, or refuses for good. */
async function follow(url, onEvent, stream = {}) {
  let fruitless = 0; // attempts in a row that have brought no event
  for (;;) {
    let after = 0; // how long the server asks us to stay away
    let isOurs = false; // whether an error is one of `onEvent`
    fruitless += 1;
    try {
      await read(url, (event) => {
        fruitless = 0;
        isOurs = true;
        onEvent(event);
        isOurs = false;
      }, stream);
    } catch (error) {
      const status = error.response?.status;
      if (status === 204) return;
      const isRefused = status < 500 && ![408, 425, 429].includes(status);
      if (isOurs || isRefused || error instanceof RangeError) throw error;
      after = retryAfter(error.response?.headers.get('retry-after'));
      console.error('lost:', error.message);
    }
    const retry = Math.max(stream.retry ?? 3_000, 100);
    const doubled = retry * 2 ** Math.min(Math.max(fruitless - 1, 0), 20);
    const wait = Math.max(Math.min(doubled, Math.max(retry, 60_000)), after);
    await pause(wait * (1 + Math.random() / 2));
  }
}

/** Reads Retry-After, which is a number of seconds or a date, in milliseconds. */
function retryAfter(value) {
  const wait = /^\d+$/.test(value) ? value * 1_000 : Date.parse(value) - Date.now();
  return Math.min(Math.max(wait || 0, 0), DAY);
}
// ANCHOR_END: client

await follow(new URL(process.argv[2]), (event) => console.log(JSON.stringify(event)));
