// A page that follows streams through a proxy that fails (tests/page/runs.rs).
import { stream } from '/stream.js';

/** How long this page watches that a stream that has ended for good does not come back. */
const WATCH = 250;
const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });

/** Errors that nobody has caught. */
export const wrong = [];
addEventListener('error', ({ message }) => wrong.push(message));
addEventListener('unhandledrejection', ({ reason }) => wrong.push(String(reason)));

/** Follows a stream on a lane of the proxy. Where the module stops for good, it opens the
    stream again after its last id, as a page does when its user has signed in again. */
export function follow(lane, path, { types, after = '', ...options }) {
  const run = { events: [], ends: [], over: Promise.withResolvers() };
  const keep = ({ lastEventId, type, data }) => run.events.push([lastEventId, type, data]);
  const on = Object.fromEntries(types.map((type) => [type, keep]));
  function open(last) {
    const source = stream(`${lane}/${path}`, { ...options, on, onState, after: last, retry: 50 });
    async function onState({ name, why, status }) {
      if (!['ended', 'refused'].includes(name) || why === 'closed') return;
      if (why === 'event') return void run.over.resolve();
      const end = { name, why, status, at: Date.now() };
      run.ends.push(end);
      await pause(WATCH);
      end.back = Date.now();
      await fetch(`${lane}/back`);
      open(source.lastEventId);
    }
    run.close = () => source.close();
  }
  open(after);
  return run;
}

/** Asks `llm` one question after the other, and reads each answer to its end, until it is told
    to stop. */
export function ask(lane, options) {
  const run = { answers: [], ends: [], mayStop: false, isOver: false };
  (async () => {
    while (!run.mayStop) {
      const answer = await fetch(`${lane}/answers`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'application/json' },
        body: JSON.stringify({ prompt: `How does a stream go on? (${lane}, ${run.answers.length})` }),
      });
      if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
      const { id } = await answer.json();
      const types = ['token', 'done', 'failure'];
      const reading = follow(lane, `answers/${id}`, { ...options, types, end: ['done', 'failure'] });
      reading.ends = run.ends;
      run.answers.push({ id, events: reading.events });
      await reading.over.promise;
    }
    run.isOver = true;
  })();
  return run;
}

/** For each number: follows a stream whose first connection breaks after so many bytes, and
    keeps what has come. Some at a time, because a browser has six connections to a server. */
export async function cuts(lane, numbers, path, { count, log, ...options }) {
  const came = {};
  await Promise.all([...'13579'].map(async (digit) => {
    for (let number; (number = numbers.pop()) !== undefined;) {
      const run = follow(`${lane}-${number}`, path(digit), options);
      const events = () => run.events.filter(([, type]) => log.includes(type));
      while (events().length < count && !run.ends.length) await pause(10);
      if (run.ends.length) wrong.push(`${lane}, after ${number} bytes: ${JSON.stringify(run.ends)}`);
      await pause(WATCH); // what came twice would come now
      run.close();
      came[number] = events();
    }
  }));
  return came;
}
