// Learning rates as functions of the step.

import { expect, it } from 'vitest';
import { constant, cosine, linearWarmup } from '../../src/training/schedules.js';

it('a cosine falls along half a wave, and stays where it ends', () => {
  const rate = cosine(0.3, { steps: 1000, least: 0.1 });
  for (let step = 0; step <= 1200; step++) {
    const wave = Math.cos((Math.PI * Math.min(step, 1000)) / 1000);
    expect(rate(step)).toBeCloseTo(0.2 + 0.1 * wave, 15);
  }
});

it('a warm-up leads to what follows, which begins where it ends', () => {
  const rate = linearWarmup(cosine(0.5, { steps: 10 }), { steps: 5 });
  expect([1, 2, 3, 4, 5].map(rate)).toEqual(
    [0.1, 0.2, 0.3, 0.4, 0.5].map((x) => expect.closeTo(x, 15) as number),
  );
  const after = cosine(0.5, { steps: 10 });
  for (let step = 5; step < 20; step++) expect(rate(step)).toBe(after(step - 5));
  expect(linearWarmup(0.25, { steps: 2 })(1)).toBe(0.125);
  expect(linearWarmup(constant(0.25), { steps: 0 })(1)).toBe(0.25);
});

it('names what is wrong', () => {
  const wrong = (argument: string, call: () => unknown) =>
    expect(call).toThrow(expect.objectContaining({ name: 'AttentionError', argument }) as Error);
  wrong('rate', () => constant(-1));
  wrong('most', () => cosine(Infinity, { steps: 1 }));
  wrong('steps', () => cosine(1, { steps: 0 }));
  wrong('least', () => cosine(1, { steps: 3, least: NaN }));
  wrong('options', () => cosine(1, undefined as never));
  wrong('after', () => linearWarmup('1' as never, { steps: 3 }));
  wrong('steps', () => linearWarmup(1, { steps: 1.5 }));
});
