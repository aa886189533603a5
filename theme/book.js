// Theme, copy buttons, keys, highlighting, and the language picker that keeps the place. Without
// JavaScript the book reads all the same.
import { element, loadScript, word } from './{{ resource "theme/panel.js" }}';

const root = document.documentElement;

// Theme: as the system, light, dark.
const themes = ['', 'light', 'dark'];
const labels = {
  '': word('Theme: as the system'),
  light: word('Theme: light'),
  dark: word('Theme: dark'),
};
const themeButton = document.querySelector('.theme-button');
function labelTheme() {
  const label = labels[root.dataset.theme ?? ''] ?? labels[''];
  themeButton.ariaLabel = label;
  themeButton.title = label;
}
themeButton.addEventListener('click', () => {
  const next = (themes.indexOf(root.dataset.theme ?? '') + 1) % themes.length;
  root.dataset.theme = themes[next];
  try {
    localStorage.setItem('theme', themes[next]);
  } catch {
    // The choice lasts for this page.
  }
  labelTheme();
});
labelTheme();

// A copy button for each code block, after the block in tab order.
for (const code of document.querySelectorAll('pre > code:not(.result)')) {
  if (!navigator.clipboard || code.closest('live-stream')) continue;
  const button = element('button', { type: 'button', className: 'copy', textContent: word('Copy') });
  button.addEventListener('click', async () => {
    // A recorded session has commands and their output; only commands are copied.
    const lines = code.textContent.split('\n');
    const commands = lines.filter((line) => line.startsWith('$ ')).map((line) => line.slice(2));
    const session = code.matches('.language-console');
    await navigator.clipboard.writeText(session ? commands.join('\n') : code.textContent);
    button.textContent = word('Copied');
    setTimeout(() => { button.textContent = word('Copy'); }, 2000);
  });
  code.parentElement.append(button);
}

// A wide block scrolls sideways; a keyboard can do so only where it can get focus.
for (const wide of document.querySelectorAll('main pre > code, main .table-wrapper')) {
  if (wide.scrollWidth > wide.clientWidth) wide.tabIndex = 0;
}

// Somebody who comes to an entry, as from the search, has a minute: its code is open.
function unfold() {
  const heading = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (heading?.tagName !== 'H3') return;
  let next = heading;
  while ((next = next.nextElementSibling) && !/^H[1-3]$/.test(next.tagName)) {
    if (next.tagName === 'DETAILS') next.open = true;
  }
}
addEventListener('hashchange', unfold);
unfold();

/** The last of these headings that is in the upper third of the window, or above. */
function reading(headings) {
  return [...document.querySelectorAll(`main :is(${headings})[id]`)]
    .filter((heading) => heading.getBoundingClientRect().top < innerHeight / 3)
    .at(-1);
}

// The contents of the page mark the section that is being read.
const sections = new IntersectionObserver(() => {
  const id = reading('h2')?.id;
  for (const link of document.querySelectorAll('.sections a')) {
    if (link.hash === `#${id}`) link.ariaCurrent = 'location';
    else link.removeAttribute('aria-current');
  }
}, { rootMargin: '0px 0px -66%' });
for (const heading of document.querySelectorAll('main h2[id]')) sections.observe(heading);

// The picker leads to the heading that is being read.
for (const link of document.querySelectorAll('.languages a')) {
  link.addEventListener('click', () => {
    const read = reading('h1, h2, h3, h4, h5, h6');
    if (read && scrollY > 0) link.hash = read.id;
  });
}
const languages = document.querySelector('.languages');
document.addEventListener('click', (event) => {
  if (!languages.contains(event.target)) languages.open = false;
});
languages.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape' || !languages.open) return;
  languages.open = false;
  languages.querySelector('summary').focus();
});

// Left and right turn the page, `/` searches, `?` lists the keys. Where an element has the focus that does
// something with such keys, such as scrolling, they are its own.
document.addEventListener('keydown', (event) => {
  const own = 'input, textarea, select, [contenteditable], pre, summary, [popover], [role=tablist], '
    + '.table-wrapper, live-stream, live-page, wire-panel';
  const typing = event.target.closest?.(own);
  if (typing || event.altKey || event.ctrlKey || event.metaKey) return;
  // Some keyboards have it on a key of its own, some with Shift.
  if (event.key === '?') document.getElementById('keys').showPopover();
  if (event.shiftKey && event.key !== '/') return;
  if (event.key === '/') {
    event.preventDefault();
    document.getElementById('search')?.showPopover();
  }
  const turn = { ArrowLeft: 'prev', ArrowRight: 'next' }[event.key];
  if (turn) document.querySelector(`.turn a[rel=${turn}]`)?.click();
});

// The chapter in the contents is in view when they open.
const contents = document.getElementById('contents');
const here = contents.querySelector('[aria-current]');
if (here && getComputedStyle(contents).position === 'sticky') {
  contents.scrollTop = here.offsetTop - contents.clientHeight / 2;
}

// Highlighting is no part of reading: it comes, script and all, with the first block of code
// that is about to be seen. Commands and output have nothing to highlight.
const PLAIN = ['language-sh', 'language-text'];
let highlighter;
function loadHighlighter() {
  highlighter ??= loadScript(new URL('{{ resource "highlight.js" }}', import.meta.url));
  return highlighter;
}
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    loadHighlighter().then(() => hljs.highlightBlock(target), console.warn);
  }
}, { rootMargin: '100px' });
for (const code of document.querySelectorAll('pre > code[class*=language-]')) {
  if (!PLAIN.some((plain) => code.classList.contains(plain))) near.observe(code);
}
