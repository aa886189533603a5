// The box of the search: what the reader types, the results, and the keys.
import { Search } from './engine.js';

/** Results shown at most: more than fit on two screens help nobody. */
const MOST = 20;
/** A result that ranks so far below the best one is no answer. */
const FAR = 0.02;

/** Loads the index of the page's language, and begins to search. */
export async function start(box, { element, word }) {
  const input = box.querySelector('input');
  const status = box.querySelector('[role=status]');
  const list = box.querySelector('ol');
  const { index, words, root } = box.dataset;

  const [data, language] = await Promise.all([
    fetch(new URL(index, import.meta.url)).then((response) => {
      if (!response.ok) throw new Error(`${index}: ${response.status}`);
      return response.json();
    }),
    words ? import(`./${words}`) : {},
  ]);
  const search = new Search(data, language);

  const marked = (text, terms) => search.mark(text, terms)
    .map((piece) => (piece.marked ? element('mark', { textContent: piece.text }) : piece.text));

  function result({ url, page, id, heading, text, terms }) {
    const link = element('a', { href: `${root}${url}#${id}` }, ...marked(heading, terms));
    // A page's own heading needs no second one.
    const place = page === heading ? '' : element('span', { className: 'place', textContent: page });
    const piece = element('p', {}, ...marked(search.piece(text, terms), terms));
    return element('li', {}, link, place, piece);
  }

  function show() {
    const query = input.value.trimStart();
    const all = query ? search.find(query) : [];
    const found = all.slice(0, MOST).filter(({ rank }) => rank > FAR * all[0].rank);
    list.replaceChildren(...found.map(result));
    box.scrollTop = 0;
    if (found.length > 0) status.textContent = `${word('Results')}: ${found.length}`;
    else if (query) status.textContent = word('Nothing found. Try fewer words, another word for it, or a piece of the error message.');
    else status.textContent = '';
  }

  /** Down and up go through the field and the results. */
  function move(by) {
    const stops = [input, ...list.querySelectorAll('a')];
    const to = stops[stops.indexOf(document.activeElement) + by];
    to?.focus();
    to?.scrollIntoView({ block: 'nearest' });
  }

  input.addEventListener('input', show);
  box.addEventListener('keydown', (event) => {
    if (event.isComposing) return;
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by) move(by);
    else if (event.key === 'Enter' && event.target === input) list.querySelector('a')?.click();
    else if (event.key === 'Escape') box.hidePopover();
    else return;
    event.preventDefault();
  });
  // A result on this very page: the box must not stay in front of it.
  list.addEventListener('click', (event) => {
    if (event.target.closest('a')) box.hidePopover();
  });
  show();
}
