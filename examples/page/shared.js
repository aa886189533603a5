// One stream for all tabs of an origin. One tab leads: it holds a Web Lock, and the stream; the
// others hear it by a BroadcastChannel. When the leader is closed, crashes, freezes or is left,
// another tab gets the lock, and goes on after its own last ID.
//
//   share('events', { on: { note: (event) => add(event.data) }, onState: show });
import { call, remember, stream } from './stream.js';

/** Milliseconds without a word of the leader, after which a tab asks for one. */
const QUIET = 5_000;
/** Milliseconds that the leader has for its answer. Then it hangs, and a tab that is seen takes over. */
const ANSWER = 1_000;

/**
 * Calls the handlers in each tab that shares this URL. Returns what `stream()` returns;
 * `state.leads` says whether this tab has the stream. It reads by `fetch`. Tabs may have handlers
 * for different types; of the other options, those of the tab that leads count, so give them all
 * the same. Without `navigator.locks` (plain HTTP in a LAN) each tab has its own stream.
 * @param {string | URL} url
 * @param {import('./stream.js').Options & { keep?: string[], steal?: boolean }} [options]  `keep`:
 *   types whose last event a late tab gets at once; `steal`: takes the lead at once (`worker.js`)
 */
export function share(url, {
  on = {}, onState, keep = [], steal, after = '', signal, fetch = {}, ...rest
} = {}) {
  const name = new URL(url, globalThis.document?.baseURI).href;
  const life = new AbortController();
  const seen = new Set(); // IDs that this tab has had
  const kept = new Map();
  remember(seen, after);
  let last = after;
  let leads = false;
  let state = { name: 'connecting', leads };
  let told; // the state of the leader
  let there; // and its last ID
  let isLate; // this tab waits for it, because it has none
  let heard; // when it last said something
  let asked; // whether this tab waits for its answer
  let turn; // ends what this tab does, until it leads no more or is left
  let channel;
  let timer;
  let detour;

  const say = (message) => channel?.postMessage(message);
  const open = (on) => stream(name, {
    ...rest, fetch, on, after: last, seen, signal: turn.signal,
    onState: (now) => now.why === 'closed' || show(now), // closed by this tab itself
  });

  /** Shows a state; the leader shows it to all tabs. */
  function show(now) {
    const next = { ...now, leads };
    if (JSON.stringify(next) === JSON.stringify(state)) return;
    state = next;
    if (leads) say({ state, place: last, kept });
    if (/ended|refused/.test(now.name)) {
      leave();
      life.abort();
    }
    onState?.(state);
  }

  // ANCHOR: hear
  /** Hands an event over. One that has an ID of its own is the new place of this tab. */
  function hand(event, before) {
    if (event.lastEventId !== before) remember(seen, last = event.lastEventId);
    if (keep.includes(event.type)) kept.set(event.type, event);
    if (Object.hasOwn(on, event.type)) call(on[event.type], event);
  }

  function hear({ data: { ask, event, before, state: now, place, kept: latest } }) {
    if (ask) return leads && say({ state, place: last, kept });
    heard = performance.now();
    asked = false;
    if (event && !isLate) {
      // The next one, or one without an ID. A leader hears the last words of the one before.
      if (before === event.lastEventId || (before === last && !leads)) hand(event, before);
    }
    if (leads) return;
    if (now) told = now;
    if (now && isLate) {
      latest.forEach((event) => hand(event, event.lastEventId));
      remember(seen, last = place);
      isLate = false;
    }
    if (!isLate) catchUp(place ?? event.lastEventId);
  }
  // ANCHOR_END: hear

  // ANCHOR: gap
  /** Fetches what this tab has missed on a connection of its own, until it is level with the leader. */
  function catchUp(place) {
    there = place;
    if (there && !seen.has(there)) {
      detour ??= open((event) => {
        if (event.lastEventId === last) return; // without an ID: the leader hands it over
        hand(event, last);
        catchUp(there);
      });
    } else {
      detour = detour?.close();
      show(told);
    }
  }
  // ANCHOR_END: gap

  // ANCHOR: request
  /** Waits for the lock, or takes it from a leader that hangs. */
  function request(steal) {
    const mine = renew();
    navigator.locks.request(
      name,
      steal ? { steal } : { signal: mine.signal },
      () => mine === turn && takeLead(mine),
    ).catch(() => {
      if (mine !== turn) return; // left, or on its next turn
      if (!leads) return takeLead(mine); // a page without an origin has no locks
      request(); // it was robbed: it hung, and another tab has the stream
      show(state);
    });
  }

  function renew() {
    turn?.abort();
    leads = false;
    detour = undefined;
    return turn = new AbortController();
  }
  // ANCHOR_END: request

  // ANCHOR: lead
  /** Opens the stream for all, after this tab's own place, until its turn is over. */
  function takeLead(mine) {
    catchUp(''); // ends the detour
    isLate = false;
    leads = true;
    open((event) => {
      say({ event, before: last });
      hand(event, last);
    });
    return new Promise((letGo) => mine.signal.addEventListener('abort', letGo));
  }
  // ANCHOR_END: lead

  // ANCHOR: look
  /** Asks a leader that says nothing. One that does not answer a tab that is seen is robbed. */
  function look() {
    const isQuiet = !leads && performance.now() - heard > QUIET;
    if (isQuiet && asked && !globalThis.document?.hidden) request(true);
    else if (isQuiet) say({ ask: true });
    asked = isQuiet;
    timer = setTimeout(look, ANSWER);
  }
  // ANCHOR_END: look

  // ANCHOR: join
  function join() {
    if (turn) return;
    isLate = !last;
    told = { name: 'connecting' };
    if (!navigator.locks) return takeLead(renew());
    channel = new BroadcastChannel(name);
    channel.onmessage = hear;
    heard = -QUIET;
    asked = false;
    request(steal);
    look();
  }
  // ANCHOR_END: join

  // ANCHOR: stay
  /** Lets go of all that keeps a page from being frozen, or kept for a way back. */
  function leave() {
    renew();
    turn = undefined;
    clearTimeout(timer);
    channel?.close();
  }

  function pause() {
    leave();
    show({ name: 'paused' });
  }

  function close() {
    leave();
    show({ name: 'ended', why: 'closed' });
  }

  const signs = { pagehide: pause, freeze: pause, pageshow: join, resume: join };
  for (const type in signs) addEventListener(type, signs[type], { capture: true, signal: life.signal });
  // ANCHOR_END: stay
  signal?.addEventListener('abort', close);
  join();
  if (signal?.aborted) close();
  return {
    close,
    get lastEventId() { return last; },
    get state() { return state; },
  };
}
