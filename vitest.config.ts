import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { requirements } from './test/support/requirements.mjs';

export default defineConfig({
  resolve: {
    // Tests exercise what ships. Internal units, those that import no .wasm, are imported from ../src.
    alias: Object.entries({
      'wasm-attention': 'index',
      'wasm-attention/benchmark': 'benchmark',
      'wasm-attention/measures': 'measures',
      'wasm-attention/model': 'model',
      'wasm-attention/model-worker-runtime': 'model-worker-runtime',
      'wasm-attention/training': 'training',
      'wasm-attention/slim': 'slim',
      'wasm-attention/worker-runtime': 'worker-runtime',
    }).map(([name, file]) => ({
      find: new RegExp(`^${name}$`),
      replacement: fileURLToPath(new URL(`dist/${file}.mjs`, import.meta.url)),
    })),
  },
  test: {
    include: ['test/**/*.test.ts'],
    tags: Object.keys(requirements).map((name) => ({ name })), // see test/support/needs.ts
    // Far above what anything takes, so that only what hangs is ended, on a machine that is busy with other things too.
    testTimeout: 300_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 30_000 } },
    server: {
      deps: {
        external: [
          /\/dist\/(benchmark|index|measures|model|model-worker-runtime|slim|training|worker-runtime)\.mjs$/,
        ],
      },
    }, // loaded by Node itself, untransformed
  },
});
