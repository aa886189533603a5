// <live-page src="chat/" windows="2">: a program's own page, live in the chapter that explains
// it, in as many windows. With `kill`, for a program that runs as a process of its own: a
// button that kills this process. While the chapter is not shown, the windows close their
// streams, as they do where the browser keeps a page for a way back. Where no server offers
// the program, they hold pictures of its page, and what stands inside follows them.
import { Panel, element, whileShown, word } from '{{ resource "theme/panel.js" }}';

class LivePage extends Panel {
  build() {
    const count = Number(this.getAttribute('windows') ?? 1);
    const program = this.getAttribute('src').replace('/', '');
    const windows = Array.from({ length: count }, (_, n) => {
      const title = count === 1 ? program : `${program}: ${word('Window')} ${n + 1}`;
      const src = new URL(`../pictures/${program}-${n + 1}.html`, import.meta.url);
      return element('iframe', { src, title, loading: 'lazy' });
    });
    if (this.url) this.#live(windows);
    else this.prepend(...windows);
  }

  #live(windows) {
    this.url.searchParams.set('lang', this.closest('[lang]').lang);
    for (const window of windows) {
      window.src = here(this.url);
      window.onload = () => {
        keepPlace(window.contentWindow, this.url);
        // It may have loaded in a tab that nobody has looked at yet.
        if (document.hidden) show(window, false);
      };
    }
    whileShown((isShown) => windows.forEach((window) => show(window, isShown)));
    const textContent = word('In a tab of its own');
    const own = element('a', { href: this.url, target: '_blank', textContent });
    const head = this.hasAttribute('kill') ? [killer(this.url)] : [];
    this.replaceChildren(...head, ...windows, element('p', {}, own));
  }
}

/** The address of a program with the place that its page had, when the chapter is loaded again. */
const here = (url) => new URL(history.state?.[url] ?? '', url);

/** Keeps the place in a window, which is behind the `#` of its address. */
function keepPlace(window, url) {
  window.addEventListener('hashchange', () => {
    history.replaceState({ ...history.state, [url]: window.location.hash }, '');
  });
}

/** Tells the page in this window that it is left and kept, or back again. */
function show({ contentWindow }, isShown) {
  const type = isShown ? 'pageshow' : 'pagehide';
  contentWindow.dispatchEvent(new PageTransitionEvent(type, { persisted: true }));
}

/** A button that kills the process of the program at this address, and what came of it. */
function killer(url) {
  const said = element('p', { role: 'status' });
  let times = 0;
  // Only one kill runs at a time. A button that is disabled would lose the focus.
  let busy = false;
  const onclick = async () => {
    if (busy) return;
    busy = true;
    const answer = await kill(url);
    if (!answer.failed) times += 1;
    said.textContent = answer.failed ?? report({ ...answer, times });
    busy = false;
  };
  const button = element('button', { type: 'button', textContent: 'kill -9', onclick });
  return element('div', { className: 'head' }, button, said);
}

/** Kills the process: `POST kill`, below the program's address. */
async function kill(url) {
  try {
    const headers = { accept: 'application/json' };
    const response = await fetch(new URL('kill', url), { method: 'POST', headers });
    const answer = await response.json();
    if (response.ok) return answer;
    return { failed: `${word('Nothing was killed:')} ${answer.error.brief}.` };
  } catch {
    return { failed: `${word('Nothing was killed:')} ${word('the server does not answer.')}` };
  }
}

/** Says which process was killed, and which one took its place. */
function report(answer) {
  return word(
    'Process {killed} was killed. After {ms} ms, {pid} has taken its place. Kills so far: {times}.',
  ).replace(/\{(\w+)\}/g, (_, name) => answer[name]);
}

customElements.define('live-page', LivePage);
