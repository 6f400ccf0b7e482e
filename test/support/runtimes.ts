// One runtime for each build this engine can run, made once for a test file.

import { afterAll, describe } from 'vitest';
import { createRuntime, probeFeatures } from 'wasm-attention';
import type { Build, Runtime, RuntimeOptions } from 'wasm-attention';

/** Builds that the engine at hand can run: `relaxed` needs Node 22 or later. */
export const builds: readonly Build[] = probeFeatures().relaxedMultiplyAdd ? ['simd', 'relaxed'] : ['simd'];

/** Runs a suite once for each build. */
export async function eachBuild(
  title: string,
  suite: (runtime: Runtime, build: Build) => void,
  options: RuntimeOptions = {},
): Promise<void> {
  for (const build of builds) {
    const runtime = await createRuntime({ ...options, build });
    describe(`${title} (${build})`, () => {
      suite(runtime, build);
      afterAll(() => {
        runtime.dispose();
      });
    });
  }
}
