// The public forms of gradients of rows: inputs of any strides, both forms, what they make, and what they refuse.

import { expect, it } from 'vitest';
import {
  activationBackward,
  activationBackwardAsync,
  gatedActivationBackward,
  gatedActivationBackwardAsync,
} from '../../src/training/ops/activation.js';
import { dropout, dropoutAsync } from '../../src/training/ops/dropout.js';
import {
  layerNormBackward,
  layerNormBackwardAsync,
  normalizeBackward,
  normalizeBackwardAsync,
  rmsNormBackward,
  rmsNormBackwardAsync,
} from '../../src/training/ops/norm.js';
import { poolingBackward, poolingBackwardAsync } from '../../src/training/ops/pooling.js';
import { rotaryEmbeddingBackward, rotaryEmbeddingBackwardAsync } from '../../src/training/ops/rotary.js';
import { softmaxBackward, softmaxBackwardAsync } from '../../src/training/ops/softmax.js';
import type { AsyncOptions, Tensor } from '../../src/slim.js';
import { Random } from '../reference/random.js';
import { eachInternalBuild } from '../support/internals.js';

type Made = Tensor | Record<string, Tensor>;
type Form = (x: Tensor, dy: Tensor) => Made;
type AsyncForm = (x: Tensor, dy: Tensor, options: AsyncOptions) => Promise<Made>;

const weight = { data: new Random(5).array(6), shape: [6] };
const silu = { activation: 'silu' } as const;
const forms: Record<string, readonly [Form, AsyncForm]> = {
  layerNorm: [
    (x, dy) => ({ ...layerNormBackward(x, dy, { weight }) }),
    async (x, dy, more) => ({ ...(await layerNormBackwardAsync(x, dy, { weight, ...more })) }),
  ],
  rmsNorm: [
    (x, dy) => ({ ...rmsNormBackward(x, dy, { weight, unitOffset: true }) }),
    async (x, dy, more) => ({
      ...(await rmsNormBackwardAsync(x, dy, { weight, unitOffset: true, ...more })),
    }),
  ],
  normalize: [(x, dy) => normalizeBackward(x, dy), normalizeBackwardAsync],
  activation: [
    (x, dy) => activationBackward(x, dy, silu),
    (x, dy, more) => activationBackwardAsync(x, dy, { ...silu, ...more }),
  ],
  'gated activation': [
    (x, dy) => ({ ...gatedActivationBackward(x, dy, x, silu) }),
    async (x, dy, more) => ({ ...(await gatedActivationBackwardAsync(x, dy, x, { ...silu, ...more })) }),
  ],
  softmax: [(x, dy) => softmaxBackward(x, dy), softmaxBackwardAsync],
  dropout: [
    (x) => dropout(x, { rate: 0.5, seed: 3 }),
    (x, _, more) => dropoutAsync(x, { rate: 0.5, seed: 3, ...more }),
  ],
  rotary: [(x) => rotaryEmbeddingBackward(x), (x, _, more) => rotaryEmbeddingBackwardAsync(x, more)],
  pooling: [
    (x) => poolingBackward(x.slice(0, 0, 1).reshape([5, 6]), 4),
    (x, _, more) => poolingBackwardAsync(x.slice(0, 0, 1).reshape([5, 6]), 4, more),
  ],
};

await eachInternalBuild('gradients of rows for everyone', (runtime) => {
  const data = [1, 2].map((seed) => new Random(seed).array(4 * 5 * 6)) as [Float32Array, Float32Array];
  const valuesOf = (made: Made) => {
    const tensors = 'data' in made ? [made as Tensor] : Object.values(made);
    return tensors.map((tensor) => {
      const values = tensor.toFloat32Array();
      tensor.dispose();
      return values;
    });
  };

  it.each(Object.keys(forms))(
    '%s: the same for any strides and in both forms, and nothing leaks',
    async (name) => {
      const [now, later] = forms[name]!;
      const plain = data.map((values) => runtime.tensor(values, [4, 5, 6])) as [Tensor, Tensor];
      const moved = plain.map((tensor) => tensor.transpose(0, 2).toContiguous()) as [Tensor, Tensor];
      const wide = data.map((values) =>
        runtime
          .tensor(new Float32Array(4 * 5 * 9), [4, 5, 9])
          .slice(2, 1, 7)
          .set(values),
      ) as [Tensor, Tensor];
      const { used } = runtime.memory;
      const expected = valuesOf(now(...plain));
      expect(expected.every((values) => values.every(Number.isFinite))).toBe(true);
      if (name !== 'pooling') {
        expect(valuesOf(now(...wide))).toEqual(expected);
        expect(valuesOf(now(...(moved.map((tensor) => tensor.transpose(0, 2)) as [Tensor, Tensor])))).toEqual(
          expected,
        );
      }
      expect(valuesOf(await later(...plain, {}))).toEqual(expected);
      await expect(later(...plain, { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
      expect(runtime.memory.used).toBe(used);
    },
  );

  it('of nothing are nothing, and zeros where weights are shared', () => {
    const empty = runtime.empty([0, 3]);
    const { input, weight: dWeight, bias } = layerNormBackward(empty, empty);
    expect(input.shape).toEqual([0, 3]);
    expect([...dWeight.data, ...bias.data]).toEqual([0, 0, 0, 0, 0, 0]);
    expect(normalizeBackward(runtime.empty([3, 0]), runtime.empty([3, 0])).shape).toEqual([3, 0]);
    expect(activationBackward(empty, empty, silu).shape).toEqual([0, 3]);
    expect(softmaxBackward(empty, empty).shape).toEqual([0, 3]);
    expect(dropout(runtime.empty([3, 0]), { rate: 0.1, seed: 1 }).shape).toEqual([3, 0]);
    expect(
      Array.from(
        activationBackward(runtime.tensor([2], []), runtime.tensor([3], []), { activation: 'relu' }).data,
      ),
    ).toEqual([3]);
  });

  it('refuse what does not fit, before anything is written', () => {
    const [two, three, integers] = [
      runtime.tensor([1, 2], [1, 2]),
      runtime.tensor([1, 2, 3], [1, 3]),
      runtime.tensor(Int32Array.of(1, 2), [1, 2]),
    ];
    const { used } = runtime.memory;
    expect(() => layerNormBackward(two, three)).toThrow(/upstream: expected \[1, 2\], got \[1, 3\]/);
    expect(() => layerNormBackward(two, two, { weight: three })).toThrow(
      /weight: expected \[2\], got \[1, 3\]/,
    );
    expect(() => layerNormBackward(two, two, { epsilon: -1 })).toThrow(/epsilon: expected/);
    expect(() => layerNormBackward(two, two, { bias: two } as never)).toThrow(/bias: unknown option/);
    expect(() => rmsNormBackward(integers, two)).toThrow(/input: expected/);
    expect(() => rmsNormBackward(two, integers)).toThrow(/upstream: expected/);
    expect(() => normalizeBackward({ data: [1], shape: [] }, { data: [1], shape: [] }, { runtime })).toThrow(
      /input: expected/,
    );
    expect(() => activationBackward(two, two, { activation: 'elu' } as never)).toThrow(
      /activation: expected gelu, /,
    );
    expect(() => activationBackward(two, two, {} as never)).toThrow(/activation: expected/);
    expect(() => activationBackward(two, three, silu)).toThrow(/upstream: expected/);
    expect(() => gatedActivationBackward(two, three, two, silu)).toThrow(/up: expected/);
    expect(() => gatedActivationBackward(two, two, three, silu)).toThrow(/upstream: expected/);
    expect(() => dropout(two, { rate: 1, seed: 1 })).toThrow(/rate: expected/);
    expect(() => dropout(two, { rate: 0.5 } as never)).toThrow(/seed: expected/);
    expect(() => dropout(two, { rate: 0.5, seed: 1, site: -1 })).toThrow(/site: expected/);
    expect(() => dropout(integers, { rate: 0.5, seed: 1 })).toThrow(/input: expected/);
    expect(runtime.memory.used).toBe(used);
  });
});
