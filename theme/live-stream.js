// <live-stream src="tick/ticks">: a program's stream, live in the page that explains it.
// With `ask`, that JSON is posted to `src` first, and the stream is where `Location` says.
// It reads with one fetch, which gives the bytes and, through a parser, the events. Where
// no server answers, it replays the recording that the page holds, and says so.
import { Panel, element, whileShown, word } from '{{ resource "theme/panel.js" }}';
import { createParser } from '{{ resource "theme/vendor/eventsource-parser.js" }}';

/** Events, and chunks of bytes, kept on the page: a stream has no end. */
const KEPT = 200;
/** UTF-16 units of one unfinished event: an endless line must not fill the memory. */
const MAX_EVENT = 1 << 20;

/** The states, and their words. */
const STATES = {
  idle: word('not connected'),
  connecting: word('connecting'),
  live: word('live'),
  paused: word('closed while out of sight'),
  stopped: word('stopped'),
  lost: word('connection lost'),
  ended: word('the stream has ended'),
  recorded: word('recording'),
  recordedEnd: word('end of the recording'),
};

const lang = document.documentElement.lang;
const decimals = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
const seconds = new Intl.NumberFormat(lang, decimals);

class LiveStream extends Panel {
  #parts;
  #recording;
  /** Ends the running stream or replay, if there is one. */
  #running;
  #inView = false;
  #isShown = !document.hidden;
  /** The address of the stream that `ask` has brought. */
  #asked;
  /** The reader pressed Stop: only the reader starts again. */
  #stopped = false;

  build() {
    const source = this.querySelector('[type="application/jsonl"], code.language-jsonl');
    this.#recording = (source?.textContent ?? '')
      .split('\n').filter((line) => line.trim()).map((line) => JSON.parse(line));
    this.#assemble();
    new IntersectionObserver(([entry]) => {
      this.#inView = entry.isIntersecting;
      this.#see();
    }, { threshold: 0.2 }).observe(this);
    whileShown((isShown) => {
      this.#isShown = isShown;
      this.#see();
    });
  }

  disconnectedCallback() {
    this.#running?.abort();
  }

  #assemble() {
    const view = (name, textContent) => element('button', {
      type: 'button', textContent, className: 'view', onclick: () => this.#show(name),
    });
    const toggle = () => this.#toggle();
    const p = this.#parts = {
      state: element('span', { className: 'state', role: 'status' }),
      toggle: element('button', { type: 'button', className: 'toggle', onclick: toggle }),
      why: element('p', { className: 'why', hidden: true }),
      views: { events: view('events', word('Events')), bytes: view('bytes', word('Bytes')) },
      events: element('ol', { tabIndex: 0, ariaLabel: word('Events') }),
      bytes: element('pre', { tabIndex: 0, role: 'group', ariaLabel: word('Bytes') }),
    };
    const part = (className, title, list) =>
      element('div', { className }, element('p', { className: 'name', textContent: title }), list);
    this.replaceChildren(
      element('div', { className: 'head' }, p.state, p.toggle, p.views.events, p.views.bytes),
      p.why,
      element('div', { className: 'body' },
        part('events', word('Events'), p.events), part('bytes', word('Bytes'), p.bytes)),
    );
    this.#show('events');
    this.#set('idle');
  }

  #show(name) {
    this.dataset.view = name;
    for (const [other, button] of Object.entries(this.#parts.views)) {
      button.ariaPressed = String(other === name);
    }
  }

  /** Shows a state in words and, through CSS, in colour. */
  #set(state) {
    this.dataset.state = state;
    this.#parts.state.textContent = STATES[state];
    const again = this.url ? word('Start') : word('Replay');
    this.#parts.toggle.textContent = this.#running ? word('Stop') : again;
  }

  #toggle() {
    this.#stopped = Boolean(this.#running);
    if (this.#running) return this.#end('stopped');
    this.#asked = undefined;
    this.#start();
  }

  /** Runs while it can be seen, so that no hidden page holds a connection. */
  #see() {
    const seen = this.#inView && this.#isShown;
    if (!seen && this.#running) this.#end('paused');
    const waiting = ['idle', 'paused'].includes(this.dataset.state);
    if (seen && waiting && !this.#stopped) this.#start();
  }

  #end(state) {
    this.#running?.abort();
    this.#running = undefined;
    this.#set(state);
  }

  async #start() {
    const running = this.#running = new AbortController();
    const { events, bytes, why } = this.#parts;
    events.replaceChildren();
    bytes.replaceChildren();
    why.hidden = true;
    const started = performance.now();
    let at = 0;
    const add = (type, value, id) => this.#addEvent(at, type, value, id);
    const parser = createParser({
      maxBufferSize: MAX_EVENT,
      onEvent: (event) => add(event.event ?? 'message', event.data, event.id),
      onComment: (text) => add(word('comment'), text),
      onRetry: (ms) => add('retry', String(ms)),
    });
    const receive = (text, ms) => {
      at = ms;
      this.#addBytes(text);
      parser.feed(text);
    };
    try {
      const now = (text) => receive(text, performance.now() - started);
      const state = await this.#live(now, running.signal)
        ?? await this.#replay(receive, running.signal);
      if (this.#running === running) this.#end(state);
    } catch (error) {
      // An abort is our own doing; its state is set already.
      if (this.#running === running) this.#end('lost');
      if (!running.signal.aborted) console.warn(error);
    }
  }

  /** Reads the live stream to its end; undefined where no server offers it. */
  async #live(receive, signal) {
    if (!this.url) return undefined;
    this.#set('connecting');
    let response;
    try {
      const url = await this.#ask(this.url, signal);
      const headers = { accept: 'text/event-stream' };
      response = await fetch(url, { signal, cache: 'no-store', headers });
    } catch (error) {
      if (signal.aborted) throw error;
      return undefined;
    }
    const type = response.headers.get('content-type');
    if (!response.ok || !type?.startsWith('text/event-stream')) return undefined;
    this.#set('live');
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return 'ended';
      receive(value);
    }
  }

  /**
   * Posts the JSON of `ask`, if there is one, and returns the address of the stream. Only Start
   * asks again: a panel that comes back into view shows the answer that it has.
   */
  async #ask(url, signal) {
    const body = this.getAttribute('ask');
    if (body === null) return url;
    if (this.#asked) return this.#asked;
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(url, { method: 'POST', headers, body, signal });
    this.#asked = new URL(response.headers.get('location') ?? '', url);
    return this.#asked;
  }

  /** Plays the recording at its own pace. */
  async #replay(receive, signal) {
    const { why } = this.#parts;
    why.textContent = this.hasAttribute('src')
      ? word('No server answers here: you see a recording of the program, at its real pace.')
      : word('A recording of the program, at its real pace.');
    why.hidden = false;
    this.#set('recorded');
    const started = performance.now();
    for (const { ms, text } of this.#recording) {
      await new Promise((resolve, reject) => {
        const timer = setTimeout(resolve, Math.max(0, started + ms - performance.now()));
        signal.addEventListener('abort', () => { clearTimeout(timer); reject(signal.reason); });
      });
      receive(text, ms);
    }
    return 'recordedEnd';
  }

  #addEvent(ms, type, value, id) {
    const entry = element('li', {},
      element('time', { textContent: `${seconds.format(ms / 1000)} s` }),
      element('b', { textContent: type }),
      element('code', { textContent: value }));
    if (id !== undefined) entry.append(element('small', { textContent: `id ${id}` }));
    append(this.#parts.events, entry);
  }

  #addBytes(text) {
    const chunk = element('span');
    for (const [, line, end] of text.matchAll(/([^\r\n]*)(\r\n|\r|\n|$)/g)) {
      const visible = end.replace('\r', '\\r').replace('\n', '\\n');
      chunk.append(line, element('i', { textContent: visible }), end && '\n');
    }
    append(this.#parts.bytes, chunk);
  }
}

/** Keeps the last entries, and stays at the end unless the reader scrolled away from it. */
function append(list, entry) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(entry);
  while (list.childElementCount > KEPT) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

customElements.define('live-stream', LiveStream);
