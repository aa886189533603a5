source.onerror = async () => {
  if (source.readyState !== EventSource.CLOSED) return; // it comes back by itself
  await renew(); // a new cookie or ticket, as your login does it
  connect(last); // as it began, with `?after=` and the last id
};
