// <wire-panel src="wire/wire/">: bytes to change, the events that the browser's EventSource
// makes of them through the program `wire`, and the standard's reading of them, line by line.
// Without a server, eventsource-parser takes the place of EventSource. The list inside has the
// bytes to begin with.
import { Panel, element, word } from '{{ resource "theme/panel.js" }}';
import { createParser } from '{{ resource "theme/vendor/eventsource-parser.js" }}';

/** Milliseconds without a key before bytes are sent. */
const PAUSE = 300;
/** Steps, and events, that are shown. */
const SHOWN = 200;

const utf8 = new TextEncoder();

/** The bytes that a text with escapes stands for. Its line breaks are for the eye only. */
function bytes(text) {
  const escapes = { n: '\n', r: '\r', t: '\t', 0: '\0', '\\': '\\' };
  const parts = text.match(/\\x[0-9a-f]{2}|\\u\{[0-9a-f]{1,6}\}|\\?[^]/giu) ?? [];
  return new Uint8Array(parts.flatMap((part) => {
    if (part === '\n') return [];
    if (part === '\\\n') return [0x5c];
    if (part.startsWith('\\x') && part.length === 4) return [parseInt(part.slice(2), 16)];
    if (part.startsWith('\\u{')) {
      const point = Math.min(parseInt(part.slice(3), 16), 0x10ffff);
      return [...utf8.encode(String.fromCodePoint(point))];
    }
    return [...utf8.encode(part[0] === '\\' ? escapes[part[1]] ?? part : part)];
  }));
}

const ESCAPES = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\0': '\\0' };
/** Characters that cannot be seen, or would turn the text around. */
const UNSEEN = /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** Shows unseen characters as their escapes: the page shows nothing of the bytes without it. */
const visible = (text) => text.replaceAll('\\', '\\\\')
  .replace(UNSEEN, (c) => ESCAPES[c] ?? `\\u{${c.codePointAt(0).toString(16)}}`);

/** Interprets the bytes line by line, as the standard says: HTML, section 9.2.6. */
function* interpret(bytes) {
  // The UTF-8 decode algorithm takes one BOM away, and TextDecoder is that algorithm.
  const text = new TextDecoder().decode(bytes);
  let data = '';
  let type = '';
  let id = '';
  let last = '';
  // The parts are lines and their ends by turns; behind the last end is an unfinished line.
  const parts = text.split(/(\r\n|\r|\n)/);
  const rest = parts.pop();
  for (let n = 0; n < parts.length; n += 2) {
    const line = parts[n];
    const lineEnd = parts[n + 1];
    const step = { line: line + lineEnd };
    if (line === '') {
      last = id;
      if (data === '') step.note = word('no data: no event');
      else step.event = { type: type || 'message', data: data.slice(0, -1), id: last };
      data = type = '';
    } else if (line.startsWith(':')) {
      step.note = word('ignored');
    } else {
      const colon = line.indexOf(':');
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      Object.assign(step, { field, value });
      if (field === 'data') data += `${value}\n`;
      else if (field === 'event') type = value;
      else if (field === 'id' && !value.includes('\0')) id = value;
      else if (field === 'retry' && /^[0-9]+$/.test(value)) step.note = `retry ${value} ms`;
      else step.note = word('ignored');
    }
    yield { ...step, buffers: { data, type, id } };
  }
  if (rest || data || type || id !== last) {
    const note = word('unfinished: dropped');
    yield { line: rest, note, buffers: { data, type, id } };
  }
}

class WirePanel extends Panel {
  #parts;
  /** The address for the bytes of this panel; undefined without a server. */
  #put;
  #source;
  #timer;
  /** The bytes whose events are shown. */
  #turn;

  build() {
    const picks = [...this.querySelectorAll('li')].map((item) => {
      const code = item.querySelector('code');
      const name = item.textContent.replace(code.textContent, '').trim();
      return { bytes: code.textContent, name };
    });
    this.#put = this.url && new URL(`book-${random()}`, this.url);
    const options = picks.map(({ name }) => element('option', { textContent: name }));
    const p = this.#parts = {
      pick: element('select', { ariaLabel: word('Example') }, ...options),
      text: element('textarea', { rows: 7, spellcheck: false, ariaLabel: word('Bytes') }),
      state: element('p', { className: 'state', role: 'status' }),
      events: element('ol', { tabIndex: 0, ariaLabel: word('Events') }),
      steps: element('tbody'),
    };
    const write = (what) => {
      p.text.setRangeText(what, p.text.selectionStart, p.text.selectionEnd, 'end');
      p.text.focus();
      p.text.oninput();
    };
    const insert = (what, label = what) => element('button', {
      type: 'button', textContent: label, ariaLabel: `${word('Insert')} ${label}`,
      onclick: () => write(what),
    });
    const heads = [word('Line'), word('Field'), word('Value'), word('Then')]
      .map((textContent) => element('th', { scope: 'col', textContent }));
    const head = element('thead', {}, element('tr', {}, ...heads));
    const reader = this.url ? word('Your browser') : 'eventsource-parser';
    this.replaceChildren(
      element('div', { className: 'head' },
        p.pick, insert('\\n\n', '\\n'), insert('\\r'), insert('\\r\\n\n', '\\r\\n'),
        insert('\\0'), insert('\\u{feff}', 'BOM')),
      p.text,
      element('div', { className: 'events' },
        element('p', { className: 'name', textContent: reader }), p.state, p.events),
      element('div', { className: 'steps', tabIndex: 0 },
        element('p', { className: 'name', textContent: word('The standard, line by line') }),
        element('table', {}, head, p.steps)),
    );
    p.pick.onchange = () => {
      // A line break follows each line's end, for the eye.
      const { bytes } = picks[p.pick.selectedIndex];
      p.text.value = bytes.replace(/\\r\\n|\\n|\\r/g, '$&\n').trimEnd();
      this.#changed(0);
    };
    p.text.oninput = () => {
      p.pick.selectedIndex = -1; // these are not the example's bytes any more
      this.#changed();
    };
    // A line break of the box counts for nothing, so Enter writes one that does.
    p.text.onkeydown = (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      write('\\n\n');
    };
    p.pick.onchange();
  }

  disconnectedCallback() {
    this.#source?.close();
  }

  #changed(pause = PAUSE) {
    const body = bytes(this.#parts.text.value);
    const steps = [...interpret(body)];
    this.#parts.steps.replaceChildren(...steps.slice(0, SHOWN).map(row));
    if (steps.length > SHOWN) {
      this.#parts.steps.append(row({ line: '…', note: `${steps.length}`, buffers: {} }));
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#play(body, steps), pause);
  }

  /** Lets the browser, or a parser in its place, read the bytes. */
  async #play(body, steps) {
    this.#source?.close();
    this.#parts.events.replaceChildren();
    this.#parts.state.textContent = word('connecting');
    const turn = this.#turn = {};
    const url = this.#put && new URL(`${this.#put}-${random()}`);
    const put = url && await fetch(url, { method: 'PUT', body }).catch(() => undefined);
    if (turn !== this.#turn) return; // there are other bytes by now
    if (put && !put.ok) {
      this.#parts.state.textContent = put.status === 413
        ? word('These are more bytes than the program takes.')
        : `${put.status} ${put.statusText}`;
      return;
    }
    if (!put) {
      this.#parts.state.textContent =
        word("No server answers here: eventsource-parser reads the bytes in your browser's place.");
      const onEvent = ({ event, data, id }) => this.#add(event || 'message', data, id ?? '');
      const parser = createParser({ onEvent });
      // It expects a decoded text, and takes no BOM away.
      parser.feed(new TextDecoder().decode(body));
      return;
    }
    // An EventSource hears the types that it listens for: those that are in the bytes.
    const types = new Set(steps.flatMap(({ event }) => event?.type ?? []).concat('message'));
    const source = this.#source = new EventSource(url);
    for (const type of types) {
      source.addEventListener(type, (event) => {
        if (event instanceof MessageEvent) this.#add(event.type, event.data, event.lastEventId);
      });
    }
    source.addEventListener('error', (event) => {
      if (event instanceof MessageEvent) return;
      source.close();
      if (source === this.#source) this.#parts.state.textContent = word('the stream has ended');
    });
  }

  #add(type, data, id) {
    if (this.#parts.events.childElementCount === SHOWN) return;
    const entry = element('li', {},
      element('b', { textContent: visible(type) }),
      element('code', { textContent: visible(data) || '\u00a0' }));
    if (id) entry.append(element('small', { textContent: `id ${visible(id)}` }));
    this.#parts.events.append(entry);
  }
}

const random = () => Math.random().toString(36).slice(2);

/** A row of the table: a line, and what it changes. */
function row({ line, field, value, note, event, buffers }) {
  const cell = (text = '') =>
    element('td', {}, element('code', { textContent: visible(text) }));
  const filled = Object.entries(buffers).filter(([, value]) => value);
  const kept = filled.map(([name, value]) => `${name} "${visible(value)}"`).join(' · ');
  const { type, data, id } = event ?? {};
  const shown = event
    ? `⇒ ${visible(type)} "${visible(data)}"${id && ` id ${visible(id)}`}`
    : note ?? kept;
  const last = element('td', { textContent: shown });
  if (event) last.className = 'good';
  return element('tr', {}, cell(line), cell(field), cell(value), last);
}

customElements.define('wire-panel', WirePanel);
