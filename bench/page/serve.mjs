// `npm run bench:page`: builds the page and serves it on this machine, with the headers that allow threads.
//
//   npm run bench:page -- --build-only     only the files, in build/bench-page/
//   npm run bench:page -- --port 8000

import { parseArgs } from 'node:util';
import { buildPage } from './build.mjs';
import { servePage } from './server.mjs';

const { values } = parseArgs({
  options: { 'build-only': { type: 'boolean' }, port: { type: 'string', default: '8080' } },
});
const folder = await buildPage();
if (values['build-only']) {
  console.log(`The page is in ${folder}`);
} else {
  const { address } = await servePage(folder, { port: Number(values.port) });
  console.log(`${address}   (Ctrl+C ends)`);
}
