// <live-page src="chat/" windows="2" height="30">: a program's own page, live in the chapter
// that explains it, in as many windows, so many rem high. Where no server offers it, what stands inside stays.
import { words } from '{{ resource "book.js" }}';

const base = document.querySelector('meta[name=live]')?.content;

class LivePage extends HTMLElement {
  connectedCallback() {
    if (!base || document.body.classList.contains('print')) return;
    const url = new URL(this.getAttribute('src'), new URL(base, location));
    const count = Number(this.getAttribute('windows') ?? 1);
    const windows = Array.from({ length: count }, (_, n) =>
      Object.assign(document.createElement('iframe'), {
        src: url, title: `${words.window} ${n + 1}`, loading: 'lazy',
      }));
    const height = this.getAttribute('height');
    if (height) for (const window of windows) window.style.height = `${height}rem`;
    this.replaceChildren(...windows);
  }
}

customElements.define('live-page', LivePage);
