// How the reader's exercises stand, below their headings, while `cargo book` serves the page: it
// checks what is saved in `try/NAME`. (`reload.js` hands on what the server says, because all tabs
// share its stream.) A page without a server shows none of it.
import { element, word } from '{{ resource "theme/panel.js" }}';

const STATES = {
  todo: word('to do'),
  tried: word('tried'),
  checking: word('checking …'),
  wrong: word('not yet'),
  done: word('done'),
};

/** The lines below the headings, by the names of the exercises. Only a served page has them. */
const lines = new Map([...document.querySelectorAll('h3 + .attempt')]
  .map((line) => [line.previousElementSibling.id, line]));
const total = document.querySelector('.attempts');

/** What came, or what should have come, as a block of text with its name. */
function piece(name, text) {
  return text === '' ? [] : [
    element('p', { className: 'name', textContent: name }), element('pre', { textContent: text }),
  ];
}

/** The words for a fault. */
function words({ sentence, came, should, section }) {
  return [
    ` ${sentence}`,
    ...piece(word('This came:'), came),
    ...piece(word('This should have come:'), should),
    ...(section ? [element('p', {}, element('a', { href: section.href, textContent: section.text }))] : []),
  ];
}

function show(text) {
  const states = JSON.parse(text);
  let done = 0;
  for (const [name, line] of lines) {
    const { state = 'todo', told } = states[name] ?? {};
    if (state === 'done') done += 1;
    const news = JSON.stringify(states[name] ?? {});
    // A line that says the same is not read out again.
    if (line.dataset.news === news) continue;
    line.dataset.news = news;
    line.dataset.state = state;
    const fault = told?.[document.documentElement.lang] ?? told?.en;
    const label = element('span', { className: 'state', textContent: STATES[state] });
    line.replaceChildren(label, ...(fault ? words(fault) : []));
  }
  if (!total) return;
  const sum = word('{done} of {total} done')
    .replace('{done}', done).replace('{total}', lines.size);
  if (total.textContent !== sum) total.textContent = sum;
}

if (lines.size > 0) {
  show('{}');
  const { content } = document.querySelector('meta[name=live]');
  document.addEventListener('exercises', (event) => show(event.detail));
  const ask = () => fetch(new URL('exercises', new URL(content, location)))
    .then((answer) => (answer.ok ? answer.text() : '{}')).then(show)
    .then(() => {
      // From now on, what changes is read out.
      for (const line of [...lines.values(), total]) if (line) line.role = 'status';
    }).catch(console.warn);
  addEventListener('pageshow', (event) => { if (event.persisted) ask(); });
  ask();
}
