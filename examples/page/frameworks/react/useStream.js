import { useEffect, useState } from 'react';
import { stream } from '../../stream.js';

/** The newest events of one type, and the state of the connection. */
export function useStream(url, type, keep = 100) {
  const [events, setEvents] = useState([]);
  const [state, setState] = useState({ name: 'connecting' });
  useEffect(() => {
    const add = (event) => setEvents((all) => [...all, event].slice(-keep));
    const source = stream(url, { on: { [type]: add }, end: 'end', onState: setState });
    return () => {
      source.close();
      setEvents([]);
    };
  }, [url, type, keep]); // another of these: close, and connect anew
  return { events, state };
}
