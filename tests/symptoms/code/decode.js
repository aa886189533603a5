const decoder = new TextDecoder(); // one for the whole stream
for (const chunk of chunks) text += decoder.decode(chunk, { stream: true });
