// One stream for all tabs of an origin. One tab leads: it holds a Web Lock, and the stream; the
// others hear it by a BroadcastChannel. When the leader is closed, crashes, freezes or is left,
// another tab gets the lock, and goes on after its own last ID.
//
//   share('events', { on: { note: (event) => add(event.data) }, onState: show });
import { remember, stream } from './stream.js';

/** Milliseconds without a word of the leader, after which a tab that is seen asks for one. */
const QUIET = 5_000;
/** Milliseconds that the leader has for its answer. Then it hangs, and the tab takes its place. */
const ANSWER = 1_000;

/**
 * Calls the handlers in each tab that shares this URL. Returns what `stream()` returns;
 * `state.leads` says whether this tab has the stream. It reads by `fetch`. Tabs may have handlers
 * for different types; of the other options, those of the tab that leads count, so give them all
 * the same. Without `navigator.locks` (plain HTTP in a LAN) each tab has its own stream.
 * @param {string | URL} url
 * @param {import('./stream.js').Options & { keep?: string[], lead?: boolean }} [options]  `keep`:
 *   types whose last event a late tab gets at once; `lead`: takes the lead at once (`worker.js`)
 */
export function share(url, options = {}) {
  const { on = {}, onState, keep = [], lead, after = '', signal, fetch = {}, ...rest } = options;
  const name = new URL(url, globalThis.document?.baseURI ?? location.href).href;
  const life = new AbortController();
  const seen = new Set(after ? [after] : []); // IDs of events that this tab has had
  const kept = new Map();
  let last = after;
  let isLate = false; // a tab without a place waits for the leader's
  let leads = false;
  let state = { name: 'connecting', leads };
  let told = state; // by the leader, with its last ID
  let there = '';
  let heard = 0; // when the leader last said something
  let looked = 0; // when this tab last asked itself about that
  let turn; // ends what this tab does until it leads no more, or is left
  let channel;
  let timer;
  let detour;

  const say = (message) => channel?.postMessage(message);
  const announce = () => say({ state, place: last, kept: [...kept.values()] });
  const open = (on, onState) => stream(name, {
    ...rest, fetch, on, onState, after: last, seen, signal: turn.signal,
  });

  /** Shows a state; the leader shows it to all tabs. */
  function show(now) {
    const next = { ...now, leads };
    if (JSON.stringify(next) === JSON.stringify(state)) return;
    state = next;
    if (leads) announce();
    if (['ended', 'refused'].includes(now.name)) {
      leave();
      life.abort();
    }
    onState?.(state);
  }

  /** Hands an event over. One that has an ID of its own is the new place of this tab. */
  function hand(event, before) {
    if (event.lastEventId !== before) remember(seen, last = event.lastEventId);
    if (keep.includes(event.type)) kept.set(event.type, event);
    if (Object.hasOwn(on, event.type)) on[event.type](event);
  }

  // ANCHOR: hear
  function hear({ data: { ask, event, before, ...leader } }) {
    if (ask) return leads && announce();
    heard = performance.now();
    if (event) {
      if (isLate) return;
      const hasOwnId = event.lastEventId !== before;
      if (!hasOwnId || (before === last && !leads)) hand(event, before);
      catchUp(event.lastEventId);
    } else if (!leads) {
      told = leader.state;
      if (isLate) {
        leader.kept.forEach((event) => hand(event, event.lastEventId));
        if (leader.place) remember(seen, last = leader.place);
        isLate = false;
      }
      catchUp(leader.place);
      if (!detour) show(told);
    }
  }
  // ANCHOR_END: hear

  // ANCHOR: gap
  /** Fetches what this tab has missed on a connection of its own, until it knows the leader's place. */
  function catchUp(place) {
    there = place;
    if (leads || !there || seen.has(there)) return endDetour();
    detour ??= open((event) => {
      if (event.lastEventId === last) return; // without an ID: the leader has handed it over
      hand(event, last);
      if (seen.has(there)) endDetour();
    }, (now) => detour && show(now));
  }

  function endDetour() {
    if (!detour) return;
    const { close } = detour;
    detour = undefined;
    close();
    show(told);
  }
  // ANCHOR_END: gap

  // ANCHOR: request
  /** Waits for the lock, or takes it from a leader that hangs. */
  function request(steal) {
    const mine = renew(new AbortController());
    const how = steal ? { steal } : { signal: mine.signal };
    navigator.locks.request(name, how, () => new Promise((release) => takeLead(mine, release)))
      .catch(() => {
        if (mine !== turn) return; // left, or on its next turn
        if (!leads) return takeLead(mine); // a page without an origin has no locks
        request(); // it was robbed: it hung, and another tab has the stream
        show(state);
        say({ ask: true });
      });
  }
  // ANCHOR_END: request

  // ANCHOR: lead
  /** Opens the stream for all, after this tab's own place. */
  function takeLead(mine, release) {
    mine.signal.addEventListener('abort', release);
    if (mine !== turn) return release();
    endDetour();
    isLate = false;
    leads = true;
    open((event) => {
      const before = last;
      say({ event, before });
      hand(event, before);
    }, (now) => mine === turn && show(now));
  }
  // ANCHOR_END: lead

  function renew(next) {
    const old = turn;
    turn = next;
    leads = false;
    detour = undefined;
    old?.abort();
    return next;
  }

  // ANCHOR: look
  /** A leader that says nothing is asked, and robbed if it does not answer. */
  function look() {
    if (leads || globalThis.document?.hidden) return; // the timers of a hidden tab come late
    const now = performance.now();
    const isAwake = now - looked < 2 * ANSWER;
    looked = now;
    if (isAwake && now - heard > QUIET + ANSWER) request(true);
    else if (now - heard > QUIET) say({ ask: true });
  }
  // ANCHOR_END: look

  // ANCHOR: stay
  function join() {
    if (turn) return;
    isLate = !last;
    if (!navigator.locks) return takeLead(renew(new AbortController()));
    channel = new BroadcastChannel(name);
    channel.onmessage = hear;
    looked = performance.now();
    heard = looked - QUIET;
    timer = setInterval(look, ANSWER);
    request(lead);
    say({ ask: true });
  }

  /** Lets go of all that keeps a page from being frozen, or kept for a way back. */
  function leave() {
    renew();
    clearInterval(timer);
    channel?.close();
    channel = undefined;
  }

  function pause() {
    leave();
    show({ name: 'paused' });
  }
  // ANCHOR_END: stay

  function close() {
    leave();
    show({ name: 'ended', why: 'closed' });
  }

  const signs = { pagehide: pause, freeze: pause, pageshow: join, resume: join };
  for (const [type, react] of Object.entries(signs)) {
    addEventListener(type, react, { capture: true, signal: life.signal });
  }
  signal?.addEventListener('abort', close, { signal: life.signal });
  if (signal?.aborted) close();
  else join();
  return {
    close,
    get lastEventId() { return last; },
    get state() { return state; },
  };
}
