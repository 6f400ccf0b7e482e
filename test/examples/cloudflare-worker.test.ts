// examples/cloudflare-worker in workerd, bundled as wrangler does it: esbuild, the condition `workerd`, .wasm files kept.
// Its driver needs Node 22.

import { readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { build } from 'esbuild';
import type { Plugin } from 'esbuild';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { installExample, removeExamples } from '../support/example.mjs';
import { needs } from '../support/needs.js';

interface Worker {
  dispatchFetch(address: string, init?: { method: string; body: string }): Promise<Response>;
  dispose(): Promise<void>;
}
interface Miniflare {
  Miniflare: new (options: object) => Worker;
}

const require = createRequire(new URL('../matrix/runtimes/package.json', import.meta.url));

needs('Node-22', 'workerd').describe('in workerd', () => {
  let worker: Worker;
  beforeAll(async () => {
    const folder = installExample('cloudflare-worker');
    const outdir = join(folder, 'out');
    const keepWasm: Plugin = {
      name: 'keep-wasm',
      setup(bundle) {
        bundle.onLoad({ filter: /\.wasm$/ }, ({ path }) => ({
          contents: readFileSync(path),
          loader: 'copy',
        }));
      },
    };
    await build({
      entryPoints: [join(folder, 'worker.mjs')],
      bundle: true,
      format: 'esm',
      conditions: ['workerd', 'worker', 'browser'],
      outdir,
      plugins: [keepWasm],
    });
    const modules = await Promise.all(
      (await readdir(outdir))
        .sort((a) => (a.endsWith('.js') ? -1 : 1))
        .map(async (path) => ({
          type: path.endsWith('.wasm') ? 'CompiledWasm' : 'ESModule',
          path,
          contents: await readFile(join(outdir, path)),
        })),
    );
    const { compatibility_date: compatibilityDate } = JSON.parse(
      readFileSync(join(folder, 'wrangler.jsonc'), 'utf8').replaceAll(/,(?=\s*\})/g, ''),
    ) as { compatibility_date: string };
    const { Miniflare } = require('miniflare') as Miniflare;
    worker = new Miniflare({ modules, compatibilityDate });
  });
  afterAll(async () => {
    await worker?.dispose();
    removeExamples();
  });

  async function post(body: unknown) {
    const response = await worker.dispatchFetch('http://localhost/', {
      method: 'POST',
      body: JSON.stringify(body),
    });
    return {
      status: response.status,
      ...((await response.json()) as { weights: number[]; output: number[] }),
    };
  }

  it('answers with weights and their sum of values', async () => {
    const keys = [
      [1, 0],
      [0, 1],
      [0.5, 0.5],
    ];
    const answer = await post({ query: [1, 0], keys, scale: 2, values: [[10], [20], [30]] });
    const terms = [Math.exp(2), 1, Math.exp(1)];
    const sum = terms.reduce((a, b) => a + b);
    const expected = terms.map((term) => term / sum);
    expect(answer.status).toBe(200);
    answer.weights.forEach((weight, i) => expect(weight).toBeCloseTo(expected[i]!, 6));
    const output = expected.reduce((total, weight, i) => total + weight * 10 * (i + 1), 0);
    expect(answer.output[0]).toBeCloseTo(output, 4);
  });

  it.each([
    [{}, /^query/],
    [null, /^query/],
    [{ query: [1, 0], keys: [[1, 0], [1]] }, /^key/],
    [{ query: [1, 0], keys: [[1, 0, 3]] }, /^key: expected/],
    [{ query: ['a', 'b'], keys: [[1, 0]] }, /^query\.data/],
    [{ query: [1, 0], keys: [[1, 0]], scale: 'much' }, /^scale: expected a number/],
  ])('refuses %j', async (body, message) => {
    expect(await post(body)).toMatchObject({
      status: 400,
      message: expect.stringMatching(message) as string,
    });
  });

  it('refuses what is no JSON, and other methods', async () => {
    const response = await worker.dispatchFetch('http://localhost/', { method: 'POST', body: '[' });
    expect(response.status).toBe(400);
    await response.text();
    const other = await worker.dispatchFetch('http://localhost/');
    expect(other.status).toBe(405);
    await other.text();
  });
});
