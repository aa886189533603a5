// The base of the page's scripts and panels: the words of the interface, elements, scripts
// that load later, and what every panel knows of its program.

const translated = JSON.parse(document.getElementById('words').textContent || '{}');

/**
 * A word of the interface, in the language of the page: `src/LANG/language.toml` has it under
 * its English name. `cargo book` finds the names in the scripts, so they are written out.
 */
export const word = (english) => translated[english] ?? english;

/** Makes an element with these properties and children. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Loads a script that is no module; the promise is kept when it has run. */
export function loadScript(src) {
  return new Promise((resolve, reject) => {
    document.head.append(element('script', { src, onload: resolve, onerror: reject }));
  });
}

/** The address of all programs, on pages that `cargo book` serves. */
const live = document.querySelector('meta[name=live]')?.content;
/** The whole book on one page shows what stands inside the panels. */
const onPaper = document.body.classList.contains('print');

/** Milliseconds after which a page that was about to be left, and is there, stays. */
const STAYS = 3000;

/**
 * Tells a panel whether its page is shown. A browser has six connections to the book, for all
 * tabs together, so a page that nobody sees holds none. Nor does one that is about to be left:
 * the next page could not be loaded.
 */
export function whileShown(tell) {
  const look = () => tell(!document.hidden);
  document.addEventListener('visibilitychange', look);
  addEventListener('beforeunload', () => {
    tell(false);
    setTimeout(look, STAYS); // it was a download
  });
}

/** An element that shows a program of the book: `src` is the program's path below `live/`. */
export class Panel extends HTMLElement {
  /** The program's address; undefined where no server offers it. */
  url;
  #built = false;

  connectedCallback() {
    if (this.#built || onPaper) return;
    this.#built = true;
    const src = this.getAttribute('src');
    if (live && src !== null) this.url = new URL(src, new URL(live, location));
    this.build();
  }
}
