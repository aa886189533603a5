// A proxy that compresses as Express and webpack's development server do: with npm's
// `compression`. It prints its port. Its first argument is the server behind it.
import http from 'node:http';
import compression from 'compression';

const compress = compression();
const server = http.createServer((request, response) => {
  compress(request, response, () => {
    http.get(process.argv[2] + request.url, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
