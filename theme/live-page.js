// <live-page src="chat/" windows="2" height="30">: a program's own page, live in the chapter
// that explains it, in as many windows, so many rem high. With `kill`, for a program that runs
// as a process of its own: a button that kills this process. Where no server offers the
// program, what stands inside stays. While the chapter is not shown, its windows close their
// streams, as they do where the browser keeps a page for a way back.
import { Panel, element, whileShown, word } from '{{ resource "theme/panel.js" }}';

class LivePage extends Panel {
  build() {
    if (!this.url) return;
    const kill = this.hasAttribute('kill');
    const count = Number(this.getAttribute('windows') ?? 1);
    const program = this.getAttribute('src').replace('/', '');
    const height = this.getAttribute('height');
    const windows = Array.from({ length: count }, (_, n) => {
      const title = kill ? program : `${word('Window')} ${n + 1}`;
      const window = element('iframe', { src: this.url, title, loading: 'lazy' });
      if (height) window.style.height = `${height}rem`;
      // It may have loaded in a tab that nobody has looked at yet.
      window.onload = () => document.hidden && show(window, false);
      return window;
    });
    whileShown((isShown) => windows.forEach((window) => show(window, isShown)));
    this.replaceChildren(...(kill ? [killer(this.url)] : []), ...windows);
  }
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
