import { shallowRef, toValue, watchPostEffect } from 'vue';
import { stream } from '../../stream.js';

/** The newest events of one type, and the state of the connection. */
export function useStream(url, type, keep = 100) {
  const events = shallowRef([]);
  const state = shallowRef({ name: 'connecting' });
  watchPostEffect((onCleanup) => {
    const source = stream(toValue(url), {
      on: { [type]: (event) => { events.value = [...events.value, event].slice(-keep); } },
      end: 'end',
      onState: (now) => { state.value = now; },
    });
    onCleanup(() => {
      source.close();
      events.value = [];
    });
  });
  return { events, state };
}
