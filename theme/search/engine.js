// The search itself, without the page: words, index, ranking, and the piece of text to show.
import MiniSearch from './vendor/minisearch.js';

/** Scripts that put no space between words: pairs of letters stand for words. */
const PAIRED = '[\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Hangul}\\p{Script=Thai}ー]+';
const IS_PAIRED = new RegExp(PAIRED, 'u');
/** Letters and numbers, joined by what stands inside a name, as in `net::ERR_FAILED`. */
const NAME = /[\p{L}\p{N}\p{M}]+(?:[-_.:/+]{1,2}[\p{L}\p{N}\p{M}]+)*/gu;
/** The parts of a name: pairs, capitals, a word, a number. `lastEventId` has three. */
const PART = new RegExp(
  `${PAIRED}|\\p{Lu}{2,}s?(?!\\p{Ll})|\\p{Lu}(?!\\p{Ll})|\\p{Lu}?[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|\\p{N}+`, 'gu',
);
/** A name of so many parts is also found when it is written as one word. */
const JOINED = 4;

/** Without case and accents; the marks of other scripts than Latin and Greek are letters. */
const fold = (text) => text.toLowerCase().normalize('NFKD').replace(/[\u0300-\u036f]/g, '').normalize('NFC');
const unchanged = (word) => word;

/**
 * The words of a text: their place, and the terms under which each is found: as it is written,
 * and its stem. `whole` is a name written as one word.
 */
export function words(text, stem = unchanged) {
  const found = [];
  for (const { 0: name, index } of text.matchAll(NAME)) {
    const parts = [...name.matchAll(PART)];
    for (const { 0: part, index: at } of parts) {
      const from = index + at;
      const lower = part.toLowerCase();
      if (!IS_PAIRED.test(part)) {
        const terms = new Set([lower, stem(lower), stem(fold(lower))].map(fold));
        found.push({ from, to: from + part.length, terms: [...terms] });
      } else {
        const letters = [...part];
        const pairs = letters.length === 1 ? letters : letters.slice(1).map((letter, i) => letters[i] + letter);
        // Letters of these scripts that need two code units are rare: a mark may be off by one.
        pairs.forEach((pair, i) => found.push({ from: from + i, to: from + i + pair.length, terms: [fold(pair)] }));
      }
    }
    // HTTP/2 is found as "http2", too, and `event.lastEventId` as "lasteventid".
    for (const whole of new Set([name, ...name.split(/[.:/]+/)])) {
      const count = [...whole.matchAll(PART)].length;
      if (count < 2 || count > JOINED) continue;
      const from = index + name.indexOf(whole);
      const terms = [fold(whole.replace(/[-_.:/+]/g, ''))];
      found.push({ from, to: from + whole.length, terms, whole: true });
    }
  }
  return found;
}

/** How a section ranks by its kind; `search.rs` has the same letters. */
const KINDS = { '': 1, s: 2, t: 1.2, r: 0.3 };
const FIELDS = { heading: 3, page: 1, text: 1, code: 0.5 };
/** A word that says little, beside one that says something. */
const LITTLE = 0.15;
/** A heading that is the query, as a term of the glossary is. */
const NAMED = 3;
/** A word that is found by its beginning, a word of the same meaning, a word with an error. */
const BEGINS = 0.7;
const SAME = 0.6;
const NEARLY = 0.4;
/** Shorter words are others, not mistyped ones. */
const MISTYPED = 5;
/** Characters of the piece of text. */
const PIECE = 180;

/** A word with two neighbours in each other's place, which is one error of the hand. */
function swapped(word) {
  const others = [...word.slice(1)].map((letter, i) => word.slice(0, i) + letter + word[i] + word.slice(i + 2));
  return others.filter((other) => other !== word);
}

export class Search {
  #index = new MiniSearch({ fields: Object.keys(FIELDS), tokenize: (terms) => terms, processTerm: unchanged, stringifyField: unchanged });
  #sections;
  #stem;
  #little;
  #same = new Map();

  /** `data` is what `search.rs` wrote; `language` has the stems and words of the language. */
  constructor({ pages, sections }, { stem = unchanged, little = '', same = [] } = {}) {
    const stems = new Map();
    this.#stem = (word) => stems.get(word) ?? stems.set(word, stem(word)).get(word);
    this.#little = new Set(little.split(/\s+/).map(fold));
    for (const group of same.map((group) => group.map((word) => this.#terms(word)))) {
      for (const terms of group) {
        const others = group.filter((other) => other !== terms).flat();
        terms.forEach((term) => this.#same.set(term, [...this.#same.get(term) ?? [], ...others]));
      }
    }
    this.#sections = sections.map(([page, id, heading, text, kind]) => (
      { url: pages[page][0], page: pages[page][1], id, heading, text, kind, name: this.#name(heading) }
    ));
    this.#index.addAll(sections.map(([page, , heading, text, , code = ''], id) => ({
      id,
      heading: this.#terms(heading),
      page: this.#terms(pages[page][1]),
      text: this.#terms(text),
      code: this.#terms(code),
    })));
  }

  #terms(text) {
    return words(text, this.#stem).flatMap(({ terms }) => terms);
  }

  /** A heading or a query, without what makes no difference. */
  #name(text) {
    return words(text, this.#stem).filter(({ whole }) => !whole).map(({ terms }) => terms.at(-1)).join(' ');
  }

  /** The sections with one term: a map of their scores. */
  #ask(terms, found, weight, options = {}) {
    for (const term of terms) {
      for (const { id, score, terms: matched } of this.#index.search(term, { tokenize: (one) => [one], boost: FIELDS, ...options })) {
        const entry = found.get(id) ?? { score: 0, terms: new Set() };
        entry.score = Math.max(entry.score, score * weight);
        matched.forEach((one) => entry.terms.add(one));
        found.set(id, entry);
      }
    }
  }

  /** A single letter of an alphabet says as little as "the". */
  #isLittle(term) {
    return this.#little.has(term) || (term.length === 1 && /\p{Alpha}/u.test(term) && !IS_PAIRED.test(term));
  }

  /** The sections that have a word, with their scores. */
  #have({ terms }, isLast) {
    const found = new Map();
    this.#ask(terms, found, 1);
    if (isLast && !this.#isLittle(terms[0])) this.#ask(terms.slice(0, 1), found, BEGINS, { prefix: true });
    this.#ask(new Set(terms.flatMap((term) => this.#same.get(term) ?? [])), found, SAME);
    if (found.size === 0 && terms[0].length >= MISTYPED) {
      this.#ask(terms, found, NEARLY, { fuzzy: 1 });
      this.#ask(swapped(terms[0]), found, NEARLY);
    }
    return found;
  }

  /**
   * The sections that have these words, best first: those with all of them before those with some,
   * where a rare word counts for more. The last word may be unfinished, unless a space follows it.
   */
  find(query) {
    const results = new Map();
    let all = 0;
    const asked = words(query, this.#stem);
    const saying = asked.filter(({ terms }) => !this.#isLittle(terms[0]));
    for (const word of asked) {
      const found = this.#have(word, word.to === query.length);
      const little = saying.length === 0 || saying.includes(word) ? 1 : LITTLE;
      // A name as a whole only adds to the score: its parts are words of the query already.
      const share = found.size && !word.whole ? little * Math.log(1 + this.#sections.length / found.size) : 0;
      all += share;
      for (const [id, { score, terms }] of found) {
        const result = results.get(id) ?? { id, score: 0, share: 0, terms: new Set() };
        result.score += score * little;
        result.share += share;
        if (little === 1) terms.forEach((term) => result.terms.add(term));
        results.set(id, result);
      }
    }
    const named = this.#name(query);
    return [...results.values()]
      .map(({ id, score, share, terms }) => {
        const { kind, name } = this.#sections[id];
        const rank = score * (all && share / all) ** 2 * KINDS[kind] * (name === named ? NAMED : 1);
        return { ...this.#sections[id], rank, terms };
      })
      .sort((a, b) => b.rank - a.rank);
  }

  /** A text in pieces, each `{ text, marked }`: the words with these terms are marked. */
  mark(text, terms) {
    const pieces = [];
    let end = 0;
    for (const { from, to } of this.#places(text, terms)) {
      if (from < end) continue;
      pieces.push({ text: text.slice(end, from) }, { text: text.slice(from, to), marked: true });
      end = to;
    }
    pieces.push({ text: text.slice(end) });
    return pieces.filter((piece) => piece.text);
  }

  #places(text, terms) {
    return words(text, this.#stem).filter((word) => word.terms.some((term) => terms.has(term)));
  }

  /** The piece of a text around the place where most of these terms stand together. */
  piece(text, terms) {
    if (text.length <= 1.4 * PIECE) return text;
    const places = this.#places(text, terms);
    const together = ({ from }) => new Set(places
      .filter((other) => other.from >= from && other.to <= from + PIECE)
      .flatMap((other) => other.terms)).size;
    const best = places.reduce((best, place) => (together(place) > together(best) ? place : best), places[0]);
    const before = Math.max(0, (best?.from ?? 0) - PIECE / 4);
    // Not every language has spaces to cut at.
    const space = text.slice(before, best?.from).indexOf(' ');
    const from = before && before + space + 1;
    const cut = text.slice(from, from + PIECE);
    const last = cut.lastIndexOf(' ');
    const to = from + PIECE < text.length && last > 0 ? last : cut.length;
    return `${from > 0 ? '… ' : ''}${cut.slice(0, to)}${from + to < text.length ? ' …' : ''}`;
  }
}
