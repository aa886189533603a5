source.onerror = async () => {
  if (source.readyState !== EventSource.CLOSED) return; // it comes back by itself
  const { status, body } = await fetch(source.url);
  show(`refused: ${status}`); body?.cancel();
};
