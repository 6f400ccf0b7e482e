// The suite in Cloudflare's workerd: node workerd.mjs WORKLOADS quick|full. Prints a result file. Time stands still in there
// while it computes, so the worker asks this process for it.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { describeMachine, libraryVersion } from '../facts.mjs';
import { OWN } from '../suite/analysis.mjs';
import { makeResultFile } from '../suite/result.mjs';
import { fullEffort, quickEffort } from '../suite/run.mjs';

const [pattern = '', effortName] = process.argv.slice(2);
const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
const require = createRequire(here('../../test/matrix/runtimes/package.json'));
const { Miniflare, Response } = require('miniflare');

const { outputFiles } = await build({
  entryPoints: [here('workerd-worker.mjs')],
  bundle: true,
  write: false,
  format: 'esm',
  external: ['*.wasm'],
  logLevel: 'warning',
});
const wasm = (/** @type {string} */ name) => ({
  type: 'CompiledWasm',
  path: name,
  contents: readFileSync(here(`../../dist/${name}`)),
});
const miniflare = new Miniflare({
  modules: [
    { type: 'ESModule', path: 'worker.js', contents: outputFiles[0].text },
    ...['simd.wasm', 'relaxed.wasm', 'benchmark-simd.wasm', 'benchmark-relaxed.wasm'].map(wasm),
  ],
  compatibilityDate: '2026-07-01',
  serviceBindings: { CLOCK: () => new Response(String(performance.now())) },
});
try {
  const order = new URLSearchParams({ pattern, effort: effortName ?? 'full' });
  const response = await miniflare.dispatchFetch(`http://localhost/?${order.toString()}`);
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  const version = require('workerd/package.json').version;
  const facts = {
    machine: describeMachine(),
    engine: { name: 'workerd', version },
    versions: { [OWN]: libraryVersion() },
    absent: {},
  };
  const effort = effortName === 'quick' ? quickEffort : fullEffort;
  console.log(JSON.stringify(makeResultFile(facts, JSON.parse(text), effort), null, 1));
} finally {
  await miniflare.dispose();
}
