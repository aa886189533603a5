import compression from 'compression';
import express from 'express';
import { createProxyMiddleware } from 'http-proxy-middleware';

const app = express();
// In front of `compression`, so that it never sees the stream.
app.use(
  createProxyMiddleware({
    pathFilter: '/ticks',
    target: 'http://127.0.0.1:8698',
    on: { proxyRes: breakOff },
  }),
);
app.use(compression());
app.listen(3000, '127.0.0.1');

function breakOff(answer, _request, response) {
  answer.on('close', () => answer.complete || response.destroy());
}
