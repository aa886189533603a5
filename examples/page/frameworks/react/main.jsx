import { StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { Numbers } from './Numbers.jsx';

function App() {
  const [line, setLine] = useState('react');
  return (
    <>
      {line && <Numbers line={line} />}
      <button id="other" onClick={() => setLine('other')}>Another line</button>
      <button id="none" onClick={() => setLine('')}>None</button>
    </>
  );
}

createRoot(document.querySelector('main')).render(<StrictMode><App /></StrictMode>);
