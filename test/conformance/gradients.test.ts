// Gradients judged by what PyTorch's autograd gives in float64: a test for each case, on every build. WASM_ATTENTION_GRADIENTS names
// another file of such cases.
//
// What computes the cases of an operation stands in gradients/, under the operation's name.

import { readdirSync } from 'node:fs';
import { beforeAll, expect, it } from 'vitest';
import { training } from 'wasm-attention/training';
import { model } from 'wasm-attention/model';
import { needs } from '../support/needs.js';
import { eachBuild } from '../support/runtimes.js';
import { gradientCases, wrongOutputs } from './gradient-cases.js';
import type { GradientOperation } from './gradient-cases.js';

const operations: Record<string, GradientOperation> = {};
for (const file of readdirSync(new URL('gradients/', import.meta.url))) {
  const found = (await import(`./gradients/${file.replace(/\.ts$/, '')}.ts`)) as {
    operations: Record<string, GradientOperation>;
  };
  Object.assign(operations, found.operations);
}

const cases = gradientCases();

await eachBuild('gradients', (runtime) => {
  needs('gradient-cases').describe('of each case', () => {
    beforeAll(async () => {
      await runtime.load(model);
      await runtime.load(training);
    });

    it('are some', () => {
      expect(cases.length).toBeGreaterThan(0);
    });

    for (const given of cases) {
      const operation = operations[given.op];
      it(`${given.op}: ${given.name}`, async () => {
        expect(Object.keys(operations)).toContain(given.op);
        expect(wrongOutputs(given, await operation!(runtime, given))).toEqual([]);
      });
    }
  });
});
