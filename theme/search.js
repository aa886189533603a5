// Opens the search. All that it needs loads then, so that a page without a search stays light.
import { element, word } from '{{ resource "theme/panel.js" }}';

const box = document.getElementById('search');
const input = box.querySelector('input');
let loaded;

box.addEventListener('toggle', async (event) => {
  if (event.newState !== 'open') return;
  input.focus();
  const status = box.querySelector('[role=status]');
  if (!loaded) status.textContent = word('Loading …');
  try {
    loaded ??= import(new URL(`${box.dataset.search}box.js`, document.baseURI))
      .then(({ start }) => start(box, { element, word }));
    await loaded;
  } catch (error) {
    loaded = undefined;
    console.warn(error);
    status.textContent = word('The search did not load.');
  }
});

// Stock mdBook has no index.
if (!box.dataset.search) {
  document.querySelector('.search-button').remove();
  box.remove();
}
