// This library as it runs in a fresh process; its builds are its variants.

import { readFile } from 'node:fs/promises';
import { libraryPrepare } from '../suite/library.mjs';

const importLibrary = () => import('../../dist/index.mjs');

/** @type {import('./peer.mjs').Peer} */
export default {
  name: 'wasm-attention',
  async version() {
    return JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')).version;
  },
  available: () =>
    importLibrary().then(
      () => true,
      (error) => `is not built (npm run build): ${error.message.split('\n')[0]}`,
    ),
  variants: () => ['simd', 'relaxed'],
  prepare: async (workload, inputs, build) =>
    libraryPrepare(await importLibrary())(workload, inputs, build, 1),
};
