import { useStream } from './useStream.js';

export function Numbers({ line }) {
  const url = `../events?line=${encodeURIComponent(line)}`;
  const { events, state } = useStream(url, 'number');
  return (
    <section>
      <p id="state">{state.name}</p>
      <ul id="numbers">
        {events.map(({ lastEventId, data }) => <li key={lastEventId}>{data}</li>)}
      </ul>
    </section>
  );
}
