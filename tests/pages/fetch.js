// ANCHOR: fetch
/** Sends a prompt, and hands each token on. Resolves at the end of the answer, and rejects
    if the answer broke off. */
async function ask(prompt, onToken) {
  const response = await fetch('v1/chat/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'stand-in', stream: true, messages: [{ role: 'user', content: prompt }],
    }),
  });
  if (!response.ok) throw new Error((await response.json()).error.message);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let unread = '';
  for (;;) {
    const { done, value } = await reader.read();
    // ANCHOR: broke_off
    if (done) throw new Error('the answer broke off');
    // ANCHOR_END: broke_off
    // Wrong for streams whose lines end in CR or CRLF; `wire.md` has all the rules.
    const events = (unread + value).split('\n\n');
    unread = events.pop();
    for (const event of events) {
      if (event === 'data: [DONE]') return;
      if (!event.startsWith('data: ')) continue;
      // ANCHOR: choice
      const text = JSON.parse(event.slice(6)).choices[0]?.delta.content;
      if (text) onToken(text);
      // ANCHOR_END: choice
    }
  }
}
// ANCHOR_END: fetch
