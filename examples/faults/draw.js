// The time line of the page: what happened in the last seconds, as SVG. It draws what the
// page has noted in `states`, `events` and `attempts`.

let frozen; // the time line stands still when nothing can happen any more

function draw() {
  const line = $('line');
  const width = line.clientWidth;
  if (!width || !states.length) return;
  const latest = Math.max(...[states, events, attempts].map((marks) => marks.at(-1)?.at ?? 0));
  const resting = states.at(-1).state === 'CLOSED' && performance.now() - latest > 8_000;
  frozen = resting ? frozen ?? performance.now() : undefined;
  const now = frozen ?? performance.now();
  const span = width < 500 ? 12_000 : 24_000; // CONNECTING fits into 3 s
  const from = now - span;
  const x = (at) => Math.round((at - from) / span * width * 10) / 10;
  const shapes = [];
  const add = (name, attributes, text) => {
    const shape = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    if (text !== undefined) shape.textContent = text;
    shapes.push(shape);
  };
  add('text', { x: 0, y: 12, class: 'quiet' }, 'readyState');
  const bands = states.map(({ at, state }, n) => [Math.max(x(at), 0), x(states[n + 1]?.at ?? now), state]);
  const seen = bands.filter(([, right]) => right > 0);
  // Draw the short ones last, so that a moment of OPEN can be seen.
  for (const [left, right, state] of seen.toSorted((a, b) => (b[1] - b[0]) - (a[1] - a[0]))) {
    const room = right - left;
    add('rect', { x: left, y: 18, width: Math.max(room, 3), height: 24, class: state });
    if (room > 14) add('text', { x: left + 3, y: 34 }, room > 78 ? state : state.slice(0, room > 42 ? 4 : 1));
  }
  add('text', { x: 0, y: 60, class: 'quiet' }, t`events ● and errors ✕`);
  for (const { at, type, id } of events) {
    const here = x(at);
    if (here < 0) continue;
    if (type === 'error') add('path', { d: `M${here - 5} 66l10 10m0-10l-10 10`, class: 'cross' });
    else if (type === 'message') {
      add('circle', { cx: here, cy: 71, r: 4.5, class: 'event' });
      if (width > 250) add('text', { x: here, y: 89, 'text-anchor': 'middle' }, id);
    }
  }
  add('text', { x: 0, y: 108, class: 'quiet' }, width < 500 ? t`the server sees` : t`the server sees: attempt, fault, Last-Event-ID`);
  const ends = [0, 0, 0]; // where the labels of each row end
  for (const one of attempts) {
    const here = x(one.at);
    if (here < 0) continue;
    const isLook = one.accept !== 'text/event-stream';
    const last = one.lastEventId !== null && `←${one.lastEventId}`;
    const label = [one.attempt, isLook && t`look`, one.fault, one.moved && t`(moved)`, last].filter(Boolean).join(' ');
    const wide = label.length * 6.4;
    const row = ends.findIndex((end) => end <= here);
    add('path', { d: `M${here} 113v${row < 0 ? 6 : 10 + row * 17}`, class: isLook ? 'attempt look' : 'attempt' });
    if (row < 0) continue;
    ends[row] = here + wide + 6;
    const over = here + wide > width;
    add('text', { x: over ? Math.max(here - 3, wide) : here + 4, y: 126 + row * 17, 'text-anchor': over ? 'end' : 'start' }, label);
  }
  add('path', { d: `M0 168.5H${width}`, class: 'axis' });
  for (let back = 5_000; back < span; back += 5_000) {
    add('path', { d: `M${x(now - back)} 165v6`, class: 'axis' });
    add('text', { x: x(now - back), y: 182, 'text-anchor': 'middle', class: 'quiet' }, `−${back / 1000} s`);
  }
  add('text', { x: width, y: 182, 'text-anchor': 'end', class: 'quiet' }, t`now`);
  line.replaceChildren(...shapes);
}
