// Search over mdBook's index, which loads when the search opens for the first time.
import { element, loadScript, word } from '{{ resource "theme/panel.js" }}';

const box = document.getElementById('search');
const input = box.querySelector('input');
const status = box.querySelector('[role=status]');
const list = box.querySelector('ol');
/** Results shown at most: more than fit on two screens help nobody. */
const MOST = 20;
/** Characters of text around the first word found. */
const AROUND = 80;

let index;

async function open() {
  if (index) return;
  window.search = {};
  await loadScript(box.dataset.root + box.dataset.engine);
  await loadScript(box.dataset.root + box.dataset.index);
  index = elasticlunr.Index.load(window.search.index);
}

function teaser(body, terms) {
  const text = body.toLowerCase();
  const at = terms.map((term) => text.indexOf(term)).filter((found) => found >= 0);
  const from = Math.max(0, Math.min(...at, text.length) - AROUND);
  const cut = body.slice(from, from + 2 * AROUND);
  return (from > 0 ? '…' : '') + cut + (from + cut.length < body.length ? '…' : '');
}

function show(query) {
  const found = query ? index.search(query, window.search.search_options) : [];
  const terms = query.toLowerCase().split(/\s+/).filter(Boolean);
  list.replaceChildren(...found.slice(0, MOST).map(({ ref, doc }) => {
    const href = box.dataset.root + window.search.doc_urls[ref];
    const link = element('a', { href, textContent: doc.breadcrumbs });
    return element('li', {}, link, element('p', { textContent: teaser(doc.body, terms) }));
  }));
  status.textContent = query ? `${word('Results')}: ${found.length}` : '';
}

box.addEventListener('toggle', async (event) => {
  if (event.newState !== 'open') return;
  input.focus();
  try {
    await open();
    show(input.value.trim());
  } catch {
    status.textContent = word('The search index did not load.');
  }
});
input.addEventListener('input', () => {
  if (index) show(input.value.trim());
});
// A result on this very page: the box must not stay in front of it.
list.addEventListener('click', (event) => {
  if (event.target.closest('a')) box.hidePopover();
});
