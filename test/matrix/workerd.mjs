// Runs a bundle in Cloudflare's workerd, as a worker that answers with its outcome: node workerd.mjs out/ FLAG...
// In it are worker.js and the .wasm files it imports.

import { readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(new URL('runtimes/package.json', import.meta.url));
const { Miniflare } = require('miniflare');
const [folder, ...compatibilityFlags] = process.argv.slice(2);

const modules = [
  { type: 'ESModule', path: 'worker.js', contents: await readFile(join(folder, 'worker.js'), 'utf8') },
];
for (const name of await readdir(folder)) {
  if (!name.endsWith('.wasm')) continue;
  modules.push({ type: 'CompiledWasm', path: name, contents: await readFile(join(folder, name)) });
}
const miniflare = new Miniflare({ modules, compatibilityDate: '2026-07-01', compatibilityFlags });
try {
  const response = await miniflare.dispatchFetch('http://localhost/');
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  console.log(`OUTCOME ${text}`);
} finally {
  await miniflare.dispose();
}
