source.onmessage = (event) => show(JSON.parse(event.data).text);
