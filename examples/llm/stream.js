// One stream of Server-Sent Events in a page, read by EventSource or by `fetch`. It comes back
// where EventSource gives up, goes on after the last event, and says what it is doing.
//
//   const notes = stream('events', { on: { note: (event) => add(event.data) }, onState: show });
//   notes.close();

/**
 * @typedef {{ type: string, data: string, lastEventId: string }} StreamEvent
 * @typedef {{
 *   name: 'connecting' | 'open' | 'waiting' | 'paused' | 'ended' | 'refused',
 *   why?: 'lost' | 'silent' | 'unreachable' | 'status' | 'type' | 'cors' | 'event' | 'closed',
 *   status?: number,
 *   wait?: number,
 * }} State  `wait` is in milliseconds. `refused` by `event`: one that was too large.
 * @typedef {object} Options
 * @property {Record<string, (event: StreamEvent) => void>} [on]  a handler for each event type
 * @property {(state: State) => void} [onState]  hears of each change
 * @property {string | string[]} [end]  event types after which nothing comes
 * @property {string} [after]  the last event ID to begin with
 * @property {string} [parameter]  the name that this ID has in the URL
 * @property {number} [retry]  the first wait, in ms; a `retry` that `fetch` reads replaces it
 * @property {number} [silence]  ms without a sign of life, after which it connects again; 0 is
 *   never. `fetch` sees comments; EventSource sees the events in `on` alone, and so has 0.
 * @property {RequestInit} [fetch]  read by `fetch`, with this; without it by EventSource
 * @property {boolean} [withCredentials]  for EventSource
 * @property {AbortSignal} [signal]  closes the stream
 */

/** Two missed heartbeats of 15 s, and some time for the network. */
const SILENCE = 40_000;
/** Waits double up to this one, in ms, unless the server asks for more. */
const MAX_WAIT = 30_000;
/** `retry: 0` is no licence to ask without a pause. */
const MIN_WAIT = 50;
/** The longest `retry` and Retry-After: `setTimeout` takes 24 days for none at all. */
const DAY = 86_400_000;
/** A connection that was open for so long was no failure, even without an event. */
const STAYED = 30_000;
/** So many IDs tell whether a server repeats itself. */
const REMEMBERED = 1_000;
/** A failure that has no clear reason is final when it is the fourth in a row. */
const UNCLEAR = 4;
/** One event has so many characters at most: more of it are no longer collected. */
const MAX_EVENT = 16 * 2 ** 20;

/**
 * Opens a stream, and keeps it open until it ends, is refused, or is closed.
 * @param {string | URL} url  relative to the page, in a worker to its script
 * @param {Options} [options]
 */
export function stream(url, options = {}) {
  const { on = {}, onState, end = [], parameter = 'after', withCredentials, fetch: init } = options;
  const { silence = init ? SILENCE : 0, signal = init?.signal } = options;
  const place = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
  const ends = [end].flat();
  const life = new AbortController(); // its signal aborts when the stream is over
  let attempt = new AbortController(); // when this connection is over
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer; // of the silence on a connection, or of the wait for the next one
  /** @type {State} */
  let state = { name: 'connecting' };
  let told = '';
  let last = options.after || place.searchParams.get(parameter) || '';
  let base = Math.max(options.retry ?? 1_000, MIN_WAIT);
  let failures = 0; // in a row
  let unclear = 0; // among them, before the stream was ever open
  let opened = 0; // when, at last; 0 is never
  let heard = 0; // when the last sign of life came
  let asked = { until: 0, status: 0 }; // the server's own time for the next connection

  /** @param {State} next */
  function show(next) {
    state = next;
    const text = JSON.stringify(next);
    if (text === told) return;
    told = text;
    call(onState, next);
  }

  /** Ends the connection, its requests, and every timer. */
  function stop() {
    clearTimeout(timer);
    attempt.abort();
  }

  /** @param {State} end */
  function finish(end) {
    if (life.signal.aborted) return;
    life.abort();
    stop();
    show(end);
  }

  function connect() {
    stop();
    if (life.signal.aborted) return;
    if (!mayAsk()) return finish({ name: 'ended', why: 'lost' });
    attempt = new AbortController();
    const { signal } = attempt;
    sign();
    show({ name: 'connecting' });
    if (signal.aborted) return; // by the page, which has just heard of it
    if (init) read(init, signal);
    else listen(signal);
  }

  /** What a POST has begun is not asked for twice, unless there is a place to go on from. */
  function mayAsk() {
    return /^(get|head)$/i.test(init?.method ?? 'get') || !opened || last !== '';
  }

  /** The URL of what comes after the last event. */
  function here() {
    const url = new URL(place);
    if (last) url.searchParams.set(parameter, last);
    else url.searchParams.delete(parameter);
    return url;
  }

  // EventSource comes back by itself, unless it is CLOSED.
  /** @param {AbortSignal} signal */
  function listen(signal) {
    const source = new EventSource(here(), { withCredentials });
    let before = ''; // the last event ID of this source
    signal.addEventListener('abort', () => source.close());
    source.addEventListener('open', (event) => {
      if (!(event instanceof MessageEvent)) open(); // else the server has a type of this name
    });
    source.addEventListener('error', (event) => {
      if (event instanceof MessageEvent || signal.aborted) return;
      if (source.readyState === EventSource.CLOSED) return look(signal);
      forgive();
      show({ name: 'waiting', why: 'lost' });
    });
    for (const type of new Set([...Object.keys(on), ...ends])) {
      source.addEventListener(type, (event) => {
        if (!(event instanceof MessageEvent)) return;
        // EventSource does not tell whether an event has an id of its own. A new one has. The
        // first, if it is the last one again, may come from an `id` without an event.
        const { data, lastEventId: id } = event;
        const own = id !== before && !(before === '' && id === last);
        before = id;
        sign();
        hand({ type, data, lastEventId: own ? id : last }, own, signal);
      });
    }
  }

  /** Asks which answer it was that has closed an EventSource. @param {AbortSignal} signal */
  async function look(signal) {
    show({ name: 'connecting' });
    clearTimeout(timer);
    timer = setTimeout(lose, SILENCE, 'unreachable');
    const credentials = withCredentials ? 'include' : 'same-origin';
    const answer = await ask({ headers: { accept: 'text/event-stream' }, credentials }, signal);
    if (signal.aborted) return;
    if (!answer) return unanswered(signal);
    if (!takes(answer)) return;
    // Here is a stream: EventSource came too early for it, or cannot read it.
    unclear += 1;
    if (!opened && unclear >= UNCLEAR) finish({ name: 'refused', why: 'type', status: 200 });
    else lose('lost');
  }

  /** @param {RequestInit} init @param {AbortSignal} signal */
  async function read(init, signal) {
    let answer;
    try {
      const headers = new Headers(init.headers);
      if (!headers.has('accept')) headers.set('accept', 'text/event-stream');
      answer = await fetch(here(), { cache: 'no-store', ...init, headers, signal });
      if (!takes(answer)) return;
      open();
      const decoder = new TextDecoder();
      const feed = parser((event, own) => hand(event, own, signal),
        (retry) => { base = Math.max(Math.min(retry, DAY), MIN_WAIT); },
        (id) => { if (!repeats) last = id; },
        last);
      const body = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader();
      for (let piece = await body.read(); !piece.done; piece = await body.read()) {
        sign();
        feed(decoder.decode(piece.value, { stream: true }));
        if (signal.aborted) return;
      }
      lose('lost');
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof RangeError) finish({ name: 'refused', why: 'event' });
      else if (answer) lose('lost');
      else unanswered(signal);
    }
  }

  /** Whether an answer is a stream. If not, it says what follows. @param {Response} answer */
  function takes({ status, headers }) {
    if (status === 200 && isEventStream(headers.get('content-type'))) return true;
    unclear = 0;
    if (status === 204) finish({ name: 'ended', why: 'status', status });
    else if ([408, 425, 429].includes(status) || status >= 500) lose('status', status, retryAfter(headers));
    else finish({ name: 'refused', why: status === 200 ? 'type' : 'status', status });
    return false;
  }

  /** The head of an answer, if one comes. @param {RequestInit} init @param {AbortSignal} signal */
  async function ask(init, signal) {
    const head = new AbortController();
    signal.addEventListener('abort', () => head.abort());
    try {
      return await fetch(here(), { cache: 'no-store', ...init, signal: head.signal });
    } catch {
      return undefined;
    } finally {
      head.abort(); // the body may be a stream without an end
    }
  }

  /** No answer: the server is not there, or CORS hides what it says. @param {AbortSignal} signal */
  async function unanswered(signal) {
    const mayBeCors = !opened && place.origin !== globalThis.origin;
    const isThere = mayBeCors && await ask({ mode: 'no-cors' }, signal);
    if (signal.aborted) return;
    unclear = isThere ? unclear + 1 : 0;
    // Once may be a proxy's 502, which has no headers for CORS.
    if (unclear >= UNCLEAR) finish({ name: 'refused', why: 'cors' });
    else lose('unreachable');
  }

  function open() {
    opened = Date.now();
    repeats = undefined;
    sign();
    show({ name: 'open' });
  }

  function sign() {
    heard = Date.now();
    clearTimeout(timer);
    if (silence) timer = setTimeout(lose, silence, 'silent');
  }

  function forgive() {
    if (state.name === 'open' && Date.now() - opened >= STAYED) failures = 0;
  }

  /** Waits for the next connection. @param {State['why']} why @param {number} [status] */
  function lose(why, status, least = 0) {
    stop();
    if (!mayAsk()) return finish({ name: 'ended', why });
    forgive();
    const wait = Math.max(Math.min(base * 2 ** failures, Math.max(base, MAX_WAIT)), least);
    failures += 1;
    asked = { until: Date.now() + least, status: status ?? 0 };
    // At random, or all pages would come back together.
    pause(wait * (1 + Math.random() / 2), why, status);
  }

  /** @param {number} ms @param {State['why']} why @param {number} [status] */
  function pause(ms, why, status) {
    const wait = Math.round(ms);
    timer = setTimeout(connect, wait);
    show({ name: 'waiting', why, status, wait });
  }

  /** @type {Set<string>} */
  const known = new Set(last ? [last] : []);
  /** @type {boolean | undefined} */
  let repeats; // undefined until the first id of a connection tells

  /** Whether the page has had the event of this id: from a known one up to the last. @param {string} id */
  function isRepeat(id) {
    repeats = repeats !== false && known.has(id);
    if (!repeats) return false;
    repeats = id !== last;
    return true;
  }

  /** @param {StreamEvent} event @param {boolean} own @param {AbortSignal} signal */
  function hand(event, own, signal) {
    const { type, lastEventId: id } = event;
    if (signal.aborted || (own && isRepeat(id))) return;
    failures = 0;
    if (!repeats) last = id;
    if (own && id) {
      known.add([...id].join('')); // a copy: a slice would keep the text that it is a part of
      const [oldest] = known;
      if (known.size > REMEMBERED) known.delete(oldest);
    }
    if (Object.hasOwn(on, type)) call(on[type], event);
    if (ends.includes(type)) finish({ name: 'ended', why: 'event' });
  }

  /** Connects at once, though not before the time that the server has named. */
  function again() {
    const rest = asked.until - Date.now();
    if (rest <= 0) return connect();
    stop();
    pause(rest, 'status', asked.status);
  }

  function sleep() {
    stop();
    show({ name: 'paused' });
  }

  function wake() {
    if (state.name === 'paused') again();
  }

  const signs = {
    pagehide: sleep, // a page with an open connection is not kept for a way back
    freeze: sleep,
    pageshow: wake,
    resume: wake,
    // The connections of another network are dead, and do not know it.
    online: () => { if (state.name !== 'paused' && mayAsk()) again(); },
    visibilitychange: () => {
      if (document.hidden || state.name === 'paused') return;
      // The timers of a phone sleep with it; its clock does not.
      const isSilent = silence > 0 && Date.now() - heard > silence;
      if (state.name === 'waiting' || isSilent) again();
    },
  };
  for (const [type, react] of Object.entries(signs)) {
    // Captured: `freeze` and `resume` do not bubble from the document to the window.
    globalThis.addEventListener?.(type, react, { capture: true, signal: life.signal });
  }

  const close = () => finish({ name: 'ended', why: 'closed' });
  signal?.addEventListener('abort', close, { signal: life.signal });
  if (signal?.aborted) close();
  queueMicrotask(connect); // the page has what `stream` returns before it hears a state
  return {
    close,
    get lastEventId() { return last; },
    get state() { return state; },
  };
}

/** @template T @param {((value: T) => void) | undefined} handler @param {T} value */
function call(handler, value) {
  try {
    handler?.(value);
  } catch (error) {
    reportError(error); // as of a listener: the stream goes on
  }
}

/** Whether this is the type of a stream. Of several headers, the last one counts. @param {string | null} type */
function isEventStream(type) {
  return /(^|,)\s*text\/event-stream\s*(;[^,]*)?$/i.test(type ?? '');
}

/** The milliseconds of a Retry-After, which is in seconds or a date. @param {Headers} headers */
function retryAfter(headers) {
  const value = headers.get('retry-after') ?? '';
  // The server's clock may be another one than the page's.
  const now = Date.parse(headers.get('date') ?? '') || Date.now();
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - now;
  return Math.max(0, Math.min(ms || 0, DAY));
}

/**
 * Reads a stream by section 9.2.6 of the HTML standard, and returns the function that takes its
 * text, in pieces of any size. `own` says that an event has an id of its own.
 * @param {(event: StreamEvent, own: boolean) => void} onEvent
 * @param {(milliseconds: number) => void} [onRetry]
 * @param {(id: string) => void} [onId]  hears of an id without an event
 * @param {string} [id]  the last event ID of the connection before
 */
export function parser(onEvent, onRetry, onId, id = '') {
  let line = ''; // what has come of it
  let isAfterCr = false; // so that an LF belongs to the line end before it
  let type = '';
  let data = '';
  let own = false;

  function dispatch() {
    if (data !== '') onEvent({ type: type || 'message', data: data.slice(0, -1), lastEventId: id }, own);
    else if (own) onId?.(id);
    type = '';
    data = '';
    own = false;
  }

  /** @param {string} line */
  function take(line) {
    if (line === '') return dispatch();
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + (line[colon + 1] === ' ' ? 2 : 1));
    if (field === 'data') data += `${value}\n`;
    else if (field === 'event') type = value;
    else if (field === 'retry' && /^\d+$/.test(value)) onRetry?.(Number(value));
    else if (field === 'id' && !value.includes('\0')) {
      id = value;
      own = true;
    }
  }

  /** @param {string} text */
  return function feed(text) {
    if (text === '') return;
    const lines = text.slice(isAfterCr && text[0] === '\n' ? 1 : 0).split(/\r\n|\r|\n/);
    isAfterCr = text.endsWith('\r');
    // Only what is new is looked through, so that a long line takes no longer than others.
    lines[0] = line + lines[0];
    line = lines.pop() ?? '';
    lines.forEach(take);
    if (line.length + data.length > MAX_EVENT) throw new RangeError(`an event of more than ${MAX_EVENT} characters`);
  };
}
