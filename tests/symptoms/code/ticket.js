const headers = { authorization: `Bearer ${token}` };
const ticket = await (await fetch('tickets', { method: 'POST', headers })).text(); // good for one stream
const source = new EventSource(`events?ticket=${ticket}`);
