/** Hands on the text of a response, chunk by chunk. A letter that lies in two chunks waits for
    its end: `new TextDecoder().decode(chunk)`, anew for each chunk, would break it. */
export async function read(response, onText) {
  const text = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part; !(part = await text.read()).done;) onText(part.value);
}
