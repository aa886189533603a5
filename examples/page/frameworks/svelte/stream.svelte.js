import { stream } from '../../stream.js';

/** The newest events of one type, and the state of the connection. */
export function useStream(url, type, keep = 100) {
  let events = $state.raw([]);
  let connection = $state.raw({ name: 'connecting' });
  $effect(() => {
    const source = stream(url(), {
      on: { [type]: (event) => { events = [...events, event].slice(-keep); } },
      end: 'end',
      onState: (now) => { connection = now; },
    });
    return () => {
      source.close();
      events = [];
    };
  });
  return {
    get events() { return events; },
    get state() { return connection; },
  };
}
