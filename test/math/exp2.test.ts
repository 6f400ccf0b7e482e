// The approximations against float64 over their whole range: the figures their headers state.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { builds } from '../support/runtimes.js';

const TABLE = 4096;
const DATA = 1 << 20;

interface MathKernels {
  exp2Array(from: number, to: number, table: number): void;
  tanhArray(from: number, to: number, table: number): void;
}

async function load(build: string) {
  const memory = new WebAssembly.Memory({ initial: 100, maximum: 65536 });
  const bytes = readFileSync(new URL(`../../build/benchmark-${build}.wasm`, import.meta.url));
  const { instance } = await WebAssembly.instantiate(bytes, { env: { memory } });
  const kernels = instance.exports as unknown as MathKernels;
  return (name: keyof MathKernels, values: Float32Array): Float32Array => {
    new Float32Array(memory.buffer, DATA, values.length).set(values);
    kernels[name](DATA, DATA + values.length * 4, TABLE);
    return new Float32Array(memory.buffer, DATA, values.length).slice();
  };
}

/** Largest distance in units of the last place of the exact result. */
function largestError(values: Float32Array, actual: Float32Array, exact: (x: number) => number): number {
  let largest = 0;
  values.forEach((x, i) => {
    const expected = exact(x);
    if (expected === 0) return;
    const ulp = 2 ** (Math.floor(Math.log2(Math.abs(expected))) - 23);
    largest = Math.max(largest, Math.abs(actual[i]! - expected) / ulp);
  });
  return largest;
}

const points = (from: number, to: number) =>
  Float32Array.from({ length: 1_000_000 }, (_, i) => from + ((to - from) * i) / 1_000_000);

describe.each(builds.map((build) => [build]))('approximations (%s)', (build) => {
  it('exp2 is within 2.3 units of the last place, and exact at 0', async () => {
    const run = await load(build);
    const values = points(-99.49, 126.9);
    expect(largestError(values, run('exp2Array', values), (x) => 2 ** x)).toBeLessThan(2.3);
    expect(Array.from(run('exp2Array', Float32Array.of(0, 1, -1, 10)))).toEqual([1, 2, 0.5, 1024]);
  });

  it('exp2 gives +0 below its range and NaN for every NaN', async () => {
    const run = await load(build);
    const low = run('exp2Array', Float32Array.of(-99.6, -127, -1e30, -Infinity));
    expect(Array.from(low).every((y) => Object.is(y, 0))).toBe(true);
    const payloads = new Float32Array(Uint32Array.of(0x7fc00000, 0xffc00000, 0x7fc00001, 0x7fffffff).buffer);
    expect(Array.from(run('exp2Array', payloads)).every(Number.isNaN)).toBe(true);
  });

  it('tanh is within 2 units of the last place', async () => {
    const run = await load(build);
    const values = points(-12, 12);
    expect(largestError(values, run('tanhArray', values), Math.tanh)).toBeLessThan(2);
    const ends = run('tanhArray', Float32Array.of(-Infinity, Infinity, NaN, 0));
    expect(Array.from(ends)).toEqual([-1, 1, NaN, 0]);
  });
});
