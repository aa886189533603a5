useEffect(() => {
  const source = new EventSource('events');
  source.onmessage = (event) => show(event.data);
  return () => source.close(); // in development, StrictMode runs each effect twice
}, []);
