// A tab in a storm of tabs (tests/page/storm.rs): it shares a stream with the others.
import { share } from '/shared.js';

/** The events that this tab has had, and the ID after which they began. */
export const tab = { place: '', notes: [], wasKept: false, wrong: [] };
addEventListener('error', ({ message }) => tab.wrong.push(message));
addEventListener('unhandledrejection', ({ reason }) => tab.wrong.push(String(reason)));
addEventListener('pageshow', ({ persisted }) => { tab.wasKept ||= persisted; });

const begin = () => { tab.place ||= tab.stream?.lastEventId ?? ''; };
tab.stream = share('tabs/events', {
  on: {
    begin,
    note(event) {
      begin();
      tab.notes.push([event.lastEventId, event.type, event.data]);
    },
    resync(event) { tab.wrong.push(event.data); },
  },
  onState: begin,
  retry: 50,
  silence: 1_000,
});
window.tab = tab;
