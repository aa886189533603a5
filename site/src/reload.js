// Reloads the page when the book was built again, and hands on how the reader's exercises stand
// (`theme/exercises.js` shows it). All tabs of the book share one stream for this.
import { share } from './page/shared.js';

const tag = document.getElementById('reload');

function compare(build) {
  if (build === tag.dataset.build || sessionStorage.getItem('build') === build) return;
  // Once for each build: a page that still is another one must not reload forever.
  sessionStorage.setItem('build', build);
  location.reload();
}

share(new URL('reload', tag.src), {
  on: {
    build: ({ data }) => compare(data),
    exercises: ({ data }) => document.dispatchEvent(new CustomEvent('exercises', { detail: data })),
  },
  keep: ['build', 'exercises'],
});
