// Asks the search of a built book, outside a browser. Reads `{ folder, language, own, queries, texts }`
// from stdin; writes the addresses found for each query, and the terms of each text.
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';

const { folder, language, own, queries, texts } = JSON.parse(await text(process.stdin));
const { Search, words } = await import(`file://${folder}/engine.js`);
const its = own ? await import(`file://${folder}/${language}.js`) : {};
const search = new Search(JSON.parse(await readFile(`${folder}/${language}.json`)), its);

const found = queries.map((query) => search.find(query).map(({ url, id }) => `${url}#${id}`));
const terms = texts.map((one) => words(one, its.stem).flatMap((word) => word.terms));
console.log(JSON.stringify({ found, terms }));
