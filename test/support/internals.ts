// A runtime of the sources themselves, with the kernels of the package: for what operations are made of and no entry exports.

import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { afterAll, describe } from 'vitest';
import { createRuntime } from '../../src/slim.js';
import type { Build, Runtime, ThreadOptions } from '../../src/slim.js';
import { builds } from './runtimes.js';

const dist = (name: string) => new URL(`../../dist/${name}`, import.meta.url);
const file = (name: string) => readFileSync(dist(`${name}.wasm`));

/** A runtime of a build, with the packs `model` and `training`. */
export function internalRuntime(build: Build, threads?: ThreadOptions): Promise<Runtime> {
  const packs = ['model', 'training'].map((name) => ({
    name,
    wasm: { [build]: file(`${name}-${build}`) },
  }));
  return createRuntime({ build, wasm: { [build]: file(build) }, packs, ...(threads && { threads }) });
}

/** The same with threads, which share every work, however small. */
export async function threadedInternalRuntime(build: Build, count: number): Promise<Runtime> {
  const worker = () => new Worker(dist('thread.js'));
  const runtime = await internalRuntime(build, { count, required: true, worker });
  runtime.threads!.leastCost = 0;
  return runtime;
}

/** Runs a suite once for each build, with the packs `model` and `training`. */
export async function eachInternalBuild(
  title: string,
  suite: (runtime: Runtime, build: Build) => void,
): Promise<void> {
  for (const build of builds) {
    const runtime = await internalRuntime(build);
    describe(`${title} (${build})`, () => {
      suite(runtime, build);
      afterAll(() => {
        runtime.dispose();
      });
    });
  }
}
