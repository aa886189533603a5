import { EventSource } from 'eventsource';

const source = new EventSource(process.argv[2]);
for (const type of ['message', 'begin', 'note']) {
  source.addEventListener(type, (event) => console.log(event.type, event.data));
}
