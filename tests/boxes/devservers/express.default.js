import compression from 'compression';
import express from 'express';
import { createProxyMiddleware } from 'http-proxy-middleware';

const app = express();
app.use(compression());
app.use(createProxyMiddleware({ pathFilter: '/ticks', target: 'http://127.0.0.1:8698' }));
app.listen(3000, '127.0.0.1');
