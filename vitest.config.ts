import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: {
    // Tests exercise what ships. Internal units, those that import no .wasm, are imported from ../src.
    alias: [
      { find: /^wasm-attention$/, replacement: fileURLToPath(new URL('dist/index.mjs', import.meta.url)) },
      {
        find: /^wasm-attention\/worker-runtime$/,
        replacement: fileURLToPath(new URL('dist/worker-runtime.mjs', import.meta.url)),
      },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    server: { deps: { external: [/\/dist\/(index|worker-runtime)\.mjs$/] } }, // loaded by Node itself, untransformed
  },
});
