// A reader that notices a dead stream. EventSource hides comments, the heartbeat of most
// servers; fetch sees each byte. `npm install eventsource-parser` brings the parser.
//   follow('events', (event) => console.log(event.id, event.event, event.data));
import { createParser } from 'eventsource-parser';

const NEVER = new AbortController().signal;

/** Reads a stream, connection after connection, until the answer is a 204, or a refusal that
    will not pass, or `stop` is aborted. Resolves with that last answer. */
export async function follow(url, onEvent, { silence = 40_000, stop = NEVER, headers } = {}) {
  const address = new URL(url, location);
  let retry = 1_000;
  let wait = retry;
  while (!stop.aborted) {
    const dead = new AbortController();
    let seen = Date.now();
    // It looks at the clock: a timeout of 40 seconds would sleep with its phone.
    const watch = setInterval(() => Date.now() - seen > silence && dead.abort(), 1_000);
    const parser = createParser({
      onEvent(event) {
        if (event.id !== undefined) address.searchParams.set('after', event.id);
        wait = retry;
        queueMicrotask(() => onEvent(event)); // if it throws, the connection is still good
      },
      onRetry: (time) => { retry = Math.min(Math.max(time, 100), 3_600_000); },
    });
    try {
      const signal = AbortSignal.any([dead.signal, stop]);
      const answer = await fetch(address, { headers, cache: 'no-store', signal });
      const mayPass = [408, 425, 429].includes(answer.status) || answer.status >= 500;
      if (answer.status === 204 || (!answer.ok && !mayPass)) return answer;
      const text = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part; !(part = await text.read()).done;) {
        seen = Date.now(); // a comment is a sign of life, too
        if (answer.ok) parser.feed(part.value);
      }
    } catch (lost) {
      console.info(`${url}: ${lost}`); // by the network, or by the watchdog
    } finally {
      clearInterval(watch);
    }
    await new Promise((done) => { setTimeout(done, wait * (0.5 + Math.random() / 2)); });
    wait = Math.min(2 * wait, Math.max(retry, 30_000));
  }
}
