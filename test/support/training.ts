// Runtimes with the kernels of training.

import { training } from 'wasm-attention/training';
import { model } from 'wasm-attention/model';
import type { Runtime } from 'wasm-attention';
import { eachBuild } from './runtimes.js';

/** Runs a suite once for each build. */
export async function eachTrainingBuild(title: string, suite: (runtime: Runtime) => void): Promise<void> {
  await eachBuild(
    title,
    (runtime) => {
      suite(runtime);
    },
    { packs: [model, training] },
  );
}
