// What runs in workerd: the suite, with a clock that is asked for over a binding.

import benchmarkRelaxed from 'benchmark-relaxed.wasm';
import benchmarkSimd from 'benchmark-simd.wasm';
import relaxed from 'relaxed.wasm';
import simd from 'simd.wasm';
import * as entry from '../../dist/benchmark.mjs';
import * as slim from '../../dist/slim.mjs';
import { ownCandidates } from '../suite/library.mjs';
import { openLimits } from '../suite/limits.mjs';
import { fullEffort, quickEffort, runSuite } from '../suite/run.mjs';
import { workloads } from '../suite/workloads.mjs';

const BUILDS = ['simd', 'relaxed'];

/** The package's own edge entry brings the simd build alone, to be small; here both are measured. */
const library = {
  ...slim,
  createRuntime: (/** @type {object} */ options) =>
    slim.createRuntime({ ...options, wasm: { simd, relaxed } }),
};

const rates = {
  ...entry,
  benchmark: { name: 'benchmark', wasm: { simd: benchmarkSimd, relaxed: benchmarkRelaxed } },
};

export default {
  /** @param {Request} request @param {{ CLOCK: { fetch: typeof fetch } }} env */
  async fetch(request, { CLOCK }) {
    const { searchParams } = new URL(request.url);
    const pattern = new RegExp(searchParams.get('pattern') ?? '');
    const now = async () => Number(await (await CLOCK.fetch('http://clock/')).text());
    const clock = { now, resolution: await jitter(now) };
    try {
      const limits = await openLimits(library, rates, BUILDS, clock);
      const results = [];
      const suite = runSuite({
        workloads: workloads.filter(({ id, ownProcess }) => pattern.test(id) && !ownProcess),
        candidates: ownCandidates(library, BUILDS, [], clock),
        limits,
        effort: searchParams.get('effort') === 'quick' ? quickEffort : fullEffort,
      });
      for await (const result of suite) results.push(result);
      limits.dispose();
      return Response.json(results);
    } catch (error) {
      return new Response(String(/** @type {Error} */ (error)?.stack ?? error), { status: 500 });
    }
  },
};

/** How far apart two questions for the time are: no shorter span can be told. @param {() => Promise<number>} now */
async function jitter(now) {
  const spans = [];
  for (let i = 0; i < 30; i++) {
    const start = await now();
    spans.push((await now()) - start);
  }
  spans.sort((a, b) => a - b);
  return Math.max(0.02, (spans[25] ?? 1) - (spans[5] ?? 0));
}
