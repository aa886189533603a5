// <live-stream src="tick/ticks">: a program's stream, live in the page that explains it.
// With `ask`, that JSON is posted to `src` first, and the stream is where `Location` says.
// It reads with one fetch, which gives the bytes and, through a parser, the events. Where
// no server answers, it replays the recording that the page holds, and says so.
import { words } from '{{ resource "book.js" }}';
import { createParser } from '{{ resource "theme/eventsource-parser.js" }}';

/** Events, and chunks of bytes, kept on the page: a stream has no end. */
const KEPT = 200;
/** UTF-16 units of one unfinished event: an endless line must not fill the memory. */
const MAX_EVENT = 1 << 20;

const base = document.querySelector('meta[name=live]')?.content;
const lang = document.documentElement.lang;
const decimals = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
const seconds = new Intl.NumberFormat(lang, decimals);

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

class LiveStream extends HTMLElement {
  #parts;
  #recording;
  /** Ends the stream or the replay that is running, if one is. */
  #running;
  #inView = false;
  /** The reader pressed Stop: only the reader starts again. */
  #stopped = false;

  connectedCallback() {
    if (this.#parts || document.body.classList.contains('print')) return;
    const source = this.querySelector('[type="application/jsonl"], code.language-jsonl');
    this.#recording = (source?.textContent ?? '')
      .split('\n').filter((line) => line.trim()).map((line) => JSON.parse(line));
    this.#build();
    new IntersectionObserver(([entry]) => {
      this.#inView = entry.isIntersecting;
      this.#see();
    }, { threshold: 0.2 }).observe(this);
    document.addEventListener('visibilitychange', () => this.#see());
  }

  disconnectedCallback() {
    this.#running?.abort();
  }

  #build() {
    const view = (name) => element('button', {
      type: 'button', textContent: words[name], className: 'view',
      onclick: () => this.#show(name),
    });
    const p = this.#parts = {
      state: element('span', { className: 'state', role: 'status' }),
      toggle: element('button', { type: 'button', className: 'toggle', onclick: () => this.#toggle() }),
      why: element('p', { className: 'why', hidden: true }),
      views: { events: view('events'), bytes: view('bytes') },
      events: element('ol', { tabIndex: 0, ariaLabel: words.events }),
      bytes: element('pre', { tabIndex: 0, ariaLabel: words.bytes }),
    };
    this.replaceChildren(
      element('div', { className: 'head' }, p.state, p.toggle, p.views.events, p.views.bytes),
      p.why,
      element('div', { className: 'body' },
        element('div', { className: 'events' }, element('h3', { textContent: words.events }), p.events),
        element('div', { className: 'bytes' }, element('h3', { textContent: words.bytes }), p.bytes)),
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
    this.#parts.state.textContent = words[state];
    const again = base && this.hasAttribute('src') ? words.start : words.replay;
    this.#parts.toggle.textContent = this.#running ? words.stop : again;
  }

  #toggle() {
    this.#stopped = Boolean(this.#running);
    if (this.#running) this.#end('stopped');
    else this.#start();
  }

  /** Runs while it can be seen, so that no hidden page holds a connection. */
  #see() {
    const seen = this.#inView && !document.hidden;
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
      onComment: (text) => add(words.comment, text),
      onRetry: (ms) => add('retry', String(ms)),
    });
    const receive = (text, ms) => {
      at = ms;
      this.#addBytes(text);
      parser.feed(text);
    };
    try {
      const state = await this.#live((text) => receive(text, performance.now() - started), running.signal)
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
    if (!base || !this.hasAttribute('src')) return undefined;
    this.#set('connecting');
    let response;
    try {
      const url = await this.#ask(new URL(this.getAttribute('src'), new URL(base, location)), signal);
      response = await fetch(url, { signal, cache: 'no-store', headers: { accept: 'text/event-stream' } });
    } catch (error) {
      if (signal.aborted) throw error;
      return undefined;
    }
    if (!response.ok || !response.headers.get('content-type')?.startsWith('text/event-stream')) {
      return undefined;
    }
    this.#set('live');
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return 'ended';
      receive(value);
    }
  }

  /** Where the stream is. */
  async #ask(url, signal) {
    const body = this.getAttribute('ask');
    if (body === null) return url;
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(url, { method: 'POST', headers, body, signal });
    return new URL(response.headers.get('location') ?? '', url);
  }

  /** Plays the recording at its own pace. */
  async #replay(receive, signal) {
    const { why } = this.#parts;
    why.textContent = this.hasAttribute('src') ? words.whyRecorded : words.onlyRecorded;
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
