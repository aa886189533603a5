// The same as `shared.js`, with a SharedWorker as the leader: it has the stream for as long as a
// tab of this origin is open, so no tab that leaves takes it along. Where there is no SharedWorker
// (Chrome for Android before 148), or it does not start, or crashes, the tabs lead themselves.
//
//   const notes = await share('events', { on: { note: (event) => add(event.data) }, onState: show });
import { share as shareTabs } from './shared.js';

/** Milliseconds that a worker has to begin. */
const START = 2_000;

/**
 * Takes the options of `shared.js` and promises what it returns. `state.leads` is false while the
 * worker leads. The options of the tab that starts the worker are the worker's.
 * @param {string | URL} url
 * @param {Parameters<typeof shareTabs>[1]} [options]
 */
export async function share(url, options = {}) {
  const { on, onState, signal, ...rest } = options;
  const name = new URL(url, document.baseURI).href;
  await new Promise((begun) => {
    setTimeout(begun, START);
    try {
      // Each URL has a worker of its own, which its name tells apart.
      const worker = new SharedWorker(import.meta.url, { type: 'module', name });
      worker.onerror = begun;
      worker.port.onmessage = begun;
      worker.port.postMessage({ url: name, options: rest });
    } catch {
      begun();
    }
  });
  return shareTabs(url, options);
}

// In the worker, this is the script itself.
if ('onconnect' in globalThis) {
  let leads;
  globalThis.onconnect = ({ ports: [port] }) => {
    port.onmessage = async ({ data: { url, options } }) => {
      leads ??= new Promise((begun) => {
        shareTabs(url, { ...options, steal: true, onState: (state) => state.leads && begun() });
      });
      await leads;
      port.postMessage('leads');
    };
  };
}
