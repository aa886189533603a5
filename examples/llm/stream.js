// One stream of Server-Sent Events, read by EventSource or by `fetch`. It comes back where
// EventSource gives up, goes on after the last event, and says what it is doing.
// Longer than 350 lines: a page loads one file.
//
//   const notes = stream('events', { on: { note: (event) => add(event.data) }, onState: show });

/**
 * @typedef {{ type: string, data: string, lastEventId: string }} StreamEvent
 * @typedef {'lost' | 'silent' | 'unreachable' | 'status' | 'type' | 'cors' | 'event' | 'closed'
 * } Why  `ended` by `event`: the one of `end`. `refused` by `event`: it is too large.
 * @typedef {(event: StreamEvent) => void} Handler
 * @typedef {object} State
 * @property {'connecting' | 'open' | 'waiting' | 'paused' | 'ended' | 'refused'} name
 * @property {Why} [why]
 * @property {number} [status]  of the answer
 * @property {number} [wait]  until the next connection, in ms; EventSource hides its own
 * @typedef {object} Options
 * @property {Handler | Record<string, Handler>} [on]  a handler for each event type; one for all
 *   is for `fetch`, because EventSource hears the types alone that it is told
 * @property {(state: State) => void} [onState]  hears of each change
 * @property {string | string[]} [end]  event types after which nothing comes
 * @property {string} [after]  the last event ID to begin with
 * @property {Set<string>} [seen]  the IDs that the page has had, from `remember`
 * @property {string} [parameter]  the name of this ID in the URL
 * @property {number} [retry]  the first wait, in ms; a `retry` that `fetch` reads replaces it
 * @property {number} [silence]  ms without a sign of life before it connects again; 0 is never.
 *   EventSource hides comments, and every event that is not in `on` or `end`: there it is 0.
 * @property {RequestInit} [fetch]  read by `fetch`, with this; without it by EventSource
 * @property {boolean} [withCredentials]  for EventSource
 * @property {AbortSignal} [signal]  closes the stream
 */

const SILENCE = 40_000; // two heartbeats of 15 s that are missed, and some time for the network
const MAX_WAIT = 30_000; // waits double up to this, unless the server asks for more
const MIN_WAIT = 50; // `retry: 0` is no leave to ask without a pause
const DAY = 86_400_000; // the longest wait: above 24 days, `setTimeout` does not wait at all
const STAYED = 30_000; // a connection that was open so long was no failure, even without an event
const REMEMBERED = 1_000; // ids, to tell whether a server repeats itself
const UNCLEAR = 4; // so many failures in a row that nothing explains are a refusal
const MAX_EVENT = 16 * 2 ** 20; // the characters of one event: more are not collected

/**
 * Opens a stream, and keeps it open until it ends, is refused or closed.
 * @param {string | URL} url  relative to the page; in a worker, to its script
 * @param {Options} [options]
 */
export function stream(url, options = {}) {
  const { on = {}, onState, end = [], parameter = 'after', withCredentials, fetch: init } = options;
  const { silence = init ? SILENCE : 0, signal = init?.signal } = options;
  const place = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
  const headers = new Headers(init?.headers);
  if (!headers.has('accept')) headers.set('accept', 'text/event-stream');
  const { method } = new Request(place, { ...init, headers }); // throws what is wrong with them
  const ends = [end].flat();
  const life = new AbortController(); // aborted when the stream is over,
  let attempt = new AbortController(); // and this when a connection is
  let timer = 0; // of the silence on a connection, or of the wait for the next
  let state = /** @type {State} */ ({ name: 'connecting' });
  let told = ''; // the state that the page has heard of
  let last = options.after || place.searchParams.get(parameter) || '';
  const { seen = new Set(last ? [last] : []) } = options;
  let repeats = /** @type {boolean | undefined} */ (undefined); // until a connection's first id
  let base = Math.max(options.retry ?? 1_000, MIN_WAIT);
  let failures = 0; // in a row
  let unclear = 0; // in a row, without a reason that shows
  let opened = 0; // when it was, the last time
  let heard = 0; // when the last sign of life came
  let source = /** @type {EventSource | undefined} */ (undefined); // the last one
  let notBefore = 0; // the server's own time for the next connection

  function connect() {
    stop();
    if (!mayAsk()) return finish({ name: 'ended', why: 'lost' });
    attempt = new AbortController();
    const { signal } = attempt;
    sign();
    show({ name: 'connecting' });
    if (signal.aborted) return; // by the page, which has just heard of it
    if (init) read(signal);
    else listen(signal);
  }

  // ANCHOR: here
  /** The URL of what comes after the last event. */
  function here() {
    const url = new URL(place);
    if (last) url.searchParams.set(parameter, last);
    else url.searchParams.delete(parameter);
    return url;
  }
  // ANCHOR_END: here

  // ANCHOR: listen
  /** Reads by EventSource, which comes back unless it is CLOSED. @param {AbortSignal} signal */
  function listen(signal) {
    const mine = new EventSource(here(), { withCredentials });
    source = mine;
    signal.addEventListener('abort', () => mine.close());
    mine.onopen = open;
    mine.onerror = (event) => {
      if (event instanceof MessageEvent) return; // the server has a type of this name
      if (mine.readyState === EventSource.CLOSED) return look(signal);
      forgive();
      show({ name: 'waiting', why: 'lost' });
    };
    hear(mine);
  }
  // ANCHOR_END: listen

  // ANCHOR: hear
  /** Takes the events of an EventSource. @param {EventSource} mine */
  function hear(mine) {
    let before = ''; // the last event ID of this source
    for (const type of new Set(['message', ...Object.keys(on), ...ends])) {
      mine.addEventListener(type, ({ data, lastEventId: id }) => {
        if (data === undefined) return; // of the connection, not of the server
        // It does not show whose an id is. A new one is the event's own. The last one again may
        // have come without an event: after it, nothing is taken for a repetition.
        const isOwn = id !== before && (before !== '' || id !== last);
        if (!isOwn && id && id === last) repeats ??= false;
        before = id;
        sign();
        hand({ type, data, lastEventId: isOwn ? id : last }, isOwn);
      });
    }
  }
  // ANCHOR_END: hear

  // ANCHOR: look
  /** Asks which answer has closed an EventSource. @param {AbortSignal} signal */
  async function look(signal) {
    show({ name: 'connecting' });
    clearTimeout(timer);
    timer = setTimeout(comeBack, silence || SILENCE, 'unreachable');
    const credentials = withCredentials ? 'include' : 'same-origin';
    const answer = await ask({ headers, credentials }, signal);
    if (!answer || signal.aborted) return;
    // A stream: EventSource came too early for it, or cannot read it.
    unclear += 1;
    if (!opened && unclear >= UNCLEAR) finish({ name: 'refused', why: 'type', status: 200 });
    else comeBack('lost');
  }
  // ANCHOR_END: look

  // ANCHOR: read
  /** Reads by `fetch`. @param {AbortSignal} signal */
  async function read(signal) {
    const answer = await ask({ ...init, headers }, signal);
    if (!answer || signal.aborted) return;
    open();
    const decoder = new TextDecoder();
    const feed = parser((event, isOwn) => { if (!signal.aborted) hand(event, isOwn); },
      (retry) => { base = Math.max(Math.min(retry, DAY), MIN_WAIT); }, move, last);
    try {
      const body = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader();
      for (;;) {
        const { done, value } = await body.read();
        if (signal.aborted) return;
        if (done) return comeBack('lost');
        sign();
        feed(decoder.decode(value, { stream: true }));
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof RangeError) finish({ name: 'refused', why: 'event' });
      else comeBack('lost');
    }
  }
  // ANCHOR_END: read

  // ANCHOR: ask
  /** Asks, and returns the answer if it is a stream. If not, it decides what follows, which
   *  cancels the body. @param {RequestInit} request @param {AbortSignal} signal */
  async function ask(request, signal) {
    const init = { cache: /** @type {const} */ ('no-store'), ...request, signal };
    const answer = await fetch(here(), init).catch(() => undefined);
    if (signal.aborted) return;
    if (!answer) return unanswered(signal);
    const { status, headers } = answer;
    if (status === 200 && isEventStream(headers.get('content-type'))) return answer;
    const mayPass = [408, 425, 429].includes(status) || status >= 500;
    const isClear = mayPass || status === 204 || await isWhole(answer);
    if (signal.aborted) return;
    unclear = isClear ? 0 : unclear + 1;
    if (unclear > 0 && unclear < UNCLEAR) return comeBack('lost');
    if (mayPass) comeBack('status', status, retryAfter(headers));
    else if (status === 204) finish({ name: 'ended', why: 'status', status });
    else finish({ name: 'refused', why: status === 200 ? 'type' : 'status', status });
  }
  // ANCHOR_END: ask

  // ANCHOR: cors
  /** No server is there, or CORS hides what it says. @param {AbortSignal} signal */
  async function unanswered(signal) {
    const mayBeCors = !opened && place.origin !== globalThis.origin;
    const isThere = mayBeCors && await fetch(here(), { mode: 'no-cors', cache: 'no-store', signal })
      .then(() => true, () => false);
    if (signal.aborted) return;
    unclear = isThere ? unclear + 1 : 0;
    // One may be a proxy's 502, which has no headers for CORS.
    if (unclear >= UNCLEAR) finish({ name: 'refused', why: 'cors' });
    else comeBack('unreachable');
  }
  // ANCHOR_END: cors

  function open() {
    opened = Date.now();
    unclear = 0;
    repeats = undefined;
    sign();
    show({ name: 'open' });
  }

  // ANCHOR: repeats
  /** Whether the page has had this event: all from a known id up to the last. @param {string} id */
  function isRepeat(id) {
    const isKnown = repeats !== false && seen.has(id);
    repeats = isKnown && id !== last;
    return isKnown;
  }

  /** Hands an event over. @param {StreamEvent} event @param {boolean} isOwn */
  function hand(event, isOwn) {
    const { type, lastEventId: id } = event;
    if (isOwn && isRepeat(id)) return;
    failures = 0;
    move(id);
    if (isOwn) remember(seen, id);
    if (typeof on === 'function') call(on, event);
    else if (Object.hasOwn(on, type)) call(on[type], event);
    if (ends.includes(type)) finish({ name: 'ended', why: 'event' });
  }

  /** @param {string} id */
  function move(id) {
    if (!repeats) last = id;
  }
  // ANCHOR_END: repeats

  // ANCHOR: wait
  /** Waits, and connects again. @param {Why} why @param {number} [status] */
  function comeBack(why, status, least = 0) {
    stop();
    if (!mayAsk()) return finish({ name: 'ended', why });
    forgive();
    const backoff = Math.min(base * 2 ** failures, Math.max(base, MAX_WAIT));
    // At random, or the pages that a server has lost would come back together.
    const wait = Math.round(Math.max(backoff, least) * (1 + Math.random() / 2));
    failures += 1;
    notBefore = Date.now() + least;
    timer = setTimeout(connect, wait);
    show({ name: 'waiting', why, status, wait });
  }

  function forgive() {
    if (state.name === 'open' && Date.now() - opened >= STAYED) failures = 0;
  }

  /** A POST whose answer has begun is sent again only with a place to go on from. */
  function mayAsk() {
    return method === 'GET' || method === 'HEAD' || !opened || last !== '';
  }
  // ANCHOR_END: wait

  // ANCHOR: silence
  /** Notes a sign of life: the next has to come within the time of `silence`. */
  function sign() {
    heard = Date.now();
    clearTimeout(timer);
    if (silence) timer = setTimeout(comeBack, silence, 'silent');
  }
  // ANCHOR_END: silence

  // ANCHOR: wake
  function sleep() {
    stop();
    show({ name: 'paused' });
  }

  /** Connects at once, but not before the time that the server has named. */
  function wake() {
    const rest = notBefore - Date.now();
    if (rest <= 0) connect();
    else if (state.name === 'paused') comeBack('status', undefined, rest);
  }
  // ANCHOR_END: wake

  // ANCHOR: signs
  const isPaused = () => state.name === 'paused';
  const signs = {
    pagehide: sleep, // with a connection, a page may not be kept for a way back
    freeze: sleep,
    // Later and closed once more: in WebKitGTK 2.50, an EventSource that was closed on `pagehide`
    // opens again with its page.
    pageshow: () => setTimeout(() => {
      if (!isPaused()) return;
      source?.close();
      wake();
    }),
    resume: () => isPaused() && wake(),
    // The connections of the network before are dead, and do not know it.
    online: () => !isPaused() && mayAsk() && wake(),
    visibilitychange: () => {
      // The timers of a phone sleep with it, its clock does not.
      const isSilent = silence > 0 && Date.now() - heard > silence && !isPaused();
      if (!document.hidden && (state.name === 'waiting' || isSilent)) wake();
    },
  };
  for (const [type, react] of Object.entries(signs)) {
    // Captured: `freeze` and `resume` do not bubble from the document to the window.
    globalThis.addEventListener?.(type, react, { capture: true, signal: life.signal });
  }
  // ANCHOR_END: signs

  /** Ends the connection, its requests and its timer. */
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

  /** @param {State} next */
  function show(next) {
    state = next;
    const text = JSON.stringify(next);
    if (text !== told) call(onState, next);
    told = text;
  }

  const close = () => finish({ name: 'ended', why: 'closed' });
  signal?.addEventListener('abort', close, { signal: life.signal });
  if (signal?.aborted) close();
  // The page has what this function returns before it hears of a state.
  queueMicrotask(() => life.signal.aborted || connect());
  return {
    close,
    get lastEventId() { return last; },
    get state() { return state; },
  };
}

/** Remembers, as the newest, an id that the page has had.
 *  @param {Set<string>} seen @param {string} id */
export function remember(seen, id) {
  seen.delete(id);
  if (id) seen.add([...id].join('')); // a copy: a slice would keep the text around it
  const [oldest] = seen;
  if (seen.size > REMEMBERED) seen.delete(oldest);
}

/** @template T @param {((value: T) => void) | undefined} handler @param {T} value */
export function call(handler, value) {
  try {
    handler?.(value);
  } catch (error) {
    reportError(error); // as from a listener: the stream goes on
  }
}

/** Whether a stream has this type. Of several, the last counts. @param {string | null} type */
function isEventStream(type) {
  return /(^|,)\s*text\/event-stream\s*(;[^,]*)?$/i.test(type ?? '');
}

/** Whether an answer is more than a head that breaks off, which browsers take for a whole one
 *  over `http:`: then it has neither a length nor a body. @param {Response} answer */
async function isWhole({ url, headers, body }) {
  if (!url.startsWith('http:') || headers.has('content-length')) return true;
  const first = await body?.getReader().read().catch(() => ({ done: true }));
  return !first?.done;
}

/** The milliseconds of Retry-After, which is in seconds or a date. @param {Headers} headers */
function retryAfter(headers) {
  const value = headers.get('retry-after') ?? '';
  // The clock of the page may be wrong, so a date is compared with the server's.
  const now = Date.parse(headers.get('date') ?? '') || Date.now();
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - now;
  return Math.max(0, Math.min(ms || 0, DAY));
}

// ANCHOR: parser
/**
 * Reads a stream by section 9.2.6 of the HTML standard. It returns the function that takes the
 * text, in pieces of any size, and throws a RangeError at an event that is too large.
 * @param {(event: StreamEvent, isOwn: boolean) => void} onEvent  `isOwn`: the id is its own
 * @param {(retry: number) => void} [onRetry]
 * @param {(id: string) => void} [onId]  hears of an id that comes without an event
 */
export function parser(onEvent, onRetry, onId, id = '') {
  let line = ''; // its end has not come yet
  let isAfterCr = false; // an LF belongs to the line before
  let type = '';
  let data = '';
  let isOwn = false;

  /** @param {string} text */
  return function feed(text) {
    const lines = text.slice(isAfterCr && text[0] === '\n' ? 1 : 0).split(/\r\n|\r|\n/);
    if (text) isAfterCr = text.endsWith('\r');
    // Only the new text is searched, so that a long line takes no longer than short ones.
    lines[0] = line + lines[0];
    line = lines.pop() ?? '';
    lines.forEach(take);
    if (line.length + data.length > MAX_EVENT) throw new RangeError('too large');
  };
  // ANCHOR_END: parser

  // ANCHOR: fields
  /** @param {string} line */
  function take(line) {
    if (line === '') return dispatch();
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + (line[colon + 1] === ' ' ? 2 : 1));
    if (field === 'data') data += `${value}\n`;
    if (field === 'event') type = value;
    if (field === 'retry' && /^\d+$/.test(value)) onRetry?.(Number(value));
    if (field !== 'id' || value.includes('\0')) return;
    id = value;
    isOwn = true;
  }

  function dispatch() {
    const event = { type: type || 'message', data: data.slice(0, -1), lastEventId: id };
    const hasData = data !== '';
    const hasId = isOwn;
    type = data = '';
    isOwn = false;
    if (hasData) onEvent(event, hasId);
    else if (hasId) onId?.(id);
  }
  // ANCHOR_END: fields
}
