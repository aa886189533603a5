source.onerror = async () => {
  if (source.readyState !== EventSource.CLOSED) return; // it comes back by itself
  const stop = new AbortController();
  const { status } = await fetch(source.url, { signal: stop.signal });
  stop.abort(); show(`refused: ${status}`);
};
