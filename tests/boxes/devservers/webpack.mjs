// What `webpack serve` does with a configuration: webpack's development server, of the
// package and at the port that stand in place of PACKAGE and 3000.
import { writeFileSync } from 'node:fs';
import Server from 'PACKAGE';
import webpack from 'webpack';

const { default: configuration } = await import('FOLDER/configuration.mjs');
writeFileSync('FOLDER/app.js', '');
const quiet = { mode: 'development', stats: 'none', entry: 'FOLDER/app.js' };
const compiler = webpack({ ...configuration, ...quiet, context: 'FOLDER' });
await new Server({ ...configuration.devServer, host: '127.0.0.1', port: 3000 }, compiler).start();
