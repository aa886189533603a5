// The fault of most tutorials: an effect without a cleanup. StrictMode runs it twice.
import { StrictMode, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';

function Numbers() {
  const [numbers, setNumbers] = useState([]);
  useEffect(() => {
    const source = new EventSource('../events?line=naive');
    source.addEventListener('number', ({ data }) => setNumbers((all) => [...all, data]));
  }, []);
  return <ul id="numbers">{numbers.map((data, at) => <li key={at}>{data}</li>)}</ul>;
}

createRoot(document.querySelector('main')).render(<StrictMode><Numbers /></StrictMode>);
