// <kill-panel src="feed/" height="30">: the page of a program that runs as a process of its
// own, so many rem high, and a button that kills this process: `POST kill`, below `src`. Where no
// server offers it, what stands inside stays.
import { words } from '{{ resource "book.js" }}';

const base = document.querySelector('meta[name=live]')?.content;

class KillPanel extends HTMLElement {
  #url;
  #said;
  #times = 0;
  /** One kill at a time. A button that is disabled would lose the focus. */
  #busy = false;

  connectedCallback() {
    if (this.#url || !base || document.body.classList.contains('print')) return;
    this.#url = new URL(this.getAttribute('src'), new URL(base, location));
    const make = (name, properties) => Object.assign(document.createElement(name), properties);
    const window = make('iframe', { src: this.#url, title: this.getAttribute('src').replace('/', ''), loading: 'lazy' });
    const height = this.getAttribute('height');
    if (height) window.style.height = `${height}rem`;
    const button = make('button', { type: 'button', textContent: 'kill -9', onclick: () => this.#kill() });
    this.#said = make('p', { role: 'status' });
    const head = make('div', { className: 'head' });
    head.append(button, this.#said);
    this.replaceChildren(head, window);
  }

  async #kill() {
    if (this.#busy) return;
    this.#busy = true;
    this.#said.textContent = await this.#ask();
    this.#busy = false;
  }

  /** Kills, and says what happened. */
  async #ask() {
    try {
      const headers = { accept: 'application/json' };
      const response = await fetch(new URL('kill', this.#url), { method: 'POST', headers });
      const answer = await response.json();
      if (!response.ok) return `${words.notKilled} ${answer.error.brief}.`;
      const said = { ...answer, times: this.#times += 1 };
      return words.killed.replace(/\{(\w+)\}/g, (_, name) => said[name]);
    } catch {
      return `${words.notKilled} ${words.noAnswer}`;
    }
  }
}

customElements.define('kill-panel', KillPanel);
