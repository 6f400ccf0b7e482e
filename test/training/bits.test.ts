// Parameters after fifty steps have the bits on record, however the steps were taken: on one thread or two, at once or in slices, with
// what was computed kept or computed again.

import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import * as library from 'wasm-attention';
import * as model from 'wasm-attention/model';
import * as training from 'wasm-attention/training';
import { hash } from '../bits-suite.js';
import { loop, train, TRAINED } from '../bits-training.js';
import type { TrainingWay } from '../bits-training.js';

const recorded = JSON.parse(readFileSync(new URL('../bits.json', import.meta.url), 'utf8')) as Record<
  string,
  string
>;

const WAYS: readonly (readonly [string, TrainingWay])[] = [1, 2].flatMap((threads) =>
  [false, true].flatMap((asynchronous) =>
    [false, true].map((recompute) => {
      const words = [
        asynchronous ? 'in slices' : 'at once',
        recompute ? 'computing blocks again' : 'keeping all',
      ];
      return [`${threads} threads, ${words.join(', ')}`, { threads, asynchronous, recompute }] as const;
    }),
  ),
);

for (const [name, example] of Object.entries(TRAINED)) {
  it.each(WAYS)(`${name}, %s`, async (_, way) => {
    const losses: number[] = [];
    const onLoss = (loss: number) => losses.push(loss);
    const file = await train({ ...library, ...model, ...training }, example, { ...way, onLoss });
    expect(hash(file)).toBe(recorded[`training, ${name}`]);
    expect(losses).toHaveLength(50);
    expect(losses.every((loss) => loss > 0)).toBe(true);
  });
}

it.each([1, 2].flatMap((threads) => [[], [1], [3, 4, 7]].map((stops) => ({ threads, stops }))))(
  'the loop, with $threads threads, stopped after $stops',
  async (way) => {
    expect(hash(await loop({ ...library, ...model, ...training }, way))).toBe(recorded['training, loop']);
  },
);
