// A runtime of the sources themselves, with the kernels of the package: for what operations are made of and no entry exports.

import { readFileSync } from 'node:fs';
import { afterAll, describe } from 'vitest';
import { createRuntime } from '../../src/slim.js';
import type { Build, Runtime } from '../../src/slim.js';
import { builds } from './runtimes.js';

const file = (name: string) => readFileSync(new URL(`../../dist/${name}.wasm`, import.meta.url));

/** Runs a suite once for each build, with the packs `model` and `training`. */
export async function eachInternalBuild(
  title: string,
  suite: (runtime: Runtime, build: Build) => void,
): Promise<void> {
  for (const build of builds) {
    const packs = ['model', 'training'].map((name) => ({
      name,
      wasm: { [build]: file(`${name}-${build}`) },
    }));
    const runtime = await createRuntime({ build, wasm: { [build]: file(build) }, packs });
    describe(`${title} (${build})`, () => {
      suite(runtime, build);
      afterAll(() => {
        runtime.dispose();
      });
    });
  }
}
