// Gradients of layers by all of their options, against differences of the layer's own forward pass: along random directions, of each
// input and of each parameter by itself.

import { describe, expect, it } from 'vitest';
import { MultiHeadAttention, slidingWindow } from 'wasm-attention';
import type { ForwardOptions, MultiHeadAttentionOptions, Runtime, Tensor } from 'wasm-attention';
import {
  Embedding,
  FeedForward,
  LayerNorm,
  RmsNorm,
  Transformer,
  TransformerBlock,
} from 'wasm-attention/model';
import type { BlockForwardOptions, TransformerBlockOptions } from 'wasm-attention/model';
import { Trainable } from 'wasm-attention/training';
import type { InputGradients } from 'wasm-attention/training';
import { Random } from '../reference/random.js';
import { eachTrainingBuild } from '../support/training.js';

interface Given {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}
type Tensors = Readonly<Record<string, Given>>;

interface TestedLayer {
  load(tensors: Tensors): unknown;
  forward(x: Given, options: object): { output: Tensor<'float32'>; dispose(): void };
  dispose(): void;
}

interface Case {
  readonly title: string;
  readonly make: (runtime: Runtime) => TestedLayer;
  /** Shapes of what gradients are asked of. */
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  readonly options?: object;
}

/** Where the layer is computed in differences: float32 has lost little there, and the curve has hardly bent. */
const STEP = 0.02;
/** Of the sum of all that moves: what the float32 of differences loses, far below what a wrong gradient does. */
const LIMIT = 1e-3;

const sizeOf = (shape: readonly number[]): number => shape.reduce((size, length) => size * length, 1);

function shapesOf(layer: TestedLayer): Map<string, readonly number[]> {
  if (layer instanceof MultiHeadAttention) {
    const { embedDim, kdim, vdim, outputDim, bias, numHeads, numKeyValueHeads, headDim, valueHeadDim } =
      layer.layout;
    const sizes: [string, number, number][] = [
      ['q', numHeads * headDim, embedDim],
      ['k', numKeyValueHeads * headDim, kdim],
      ['v', numKeyValueHeads * valueHeadDim, vdim],
      ['out', outputDim, numHeads * valueHeadDim],
    ];
    return new Map(
      sizes.flatMap(([name, rows, columns]): [string, readonly number[]][] => [
        [`${name}_proj.weight`, [rows, columns]],
        ...(bias ? [[`${name}_proj.bias`, [rows]] as [string, readonly number[]]] : []),
      ]),
    );
  }
  // Of a model's layers the parameters know their shapes.
  const { parameters } = layer as unknown as {
    parameters: { names: string[]; entry(name: string): { shape: readonly number[] } };
  };
  return new Map(parameters.names.map((name) => [name, parameters.entry(name).shape]));
}

function drawn(random: Random, shape: readonly number[], name: string): Given {
  const shift = /norm.*weight$/i.test(name) || name === 'weight' ? 1 : 0;
  const scale = shape.length > 1 ? 1 / Math.sqrt(shape.at(-1)!) : 0.3;
  const data = Float32Array.from({ length: sizeOf(shape) }, () => shift + scale * random.normal());
  return { data, shape };
}

const moved = (given: Given, direction: Float64Array, step: number): Given => ({
  data: given.data.map((value, i) => value + step * direction[i]!),
  shape: given.shape,
});

/** The sum of an output, weighted, in float64. */
function lossOf(runtime: Runtime, { make, options = {} }: Case, all: Tensors, factors: Float64Array): number {
  const layer = make(runtime);
  const names = [...shapesOf(layer).keys()];
  layer.load(Object.fromEntries(names.map((name) => [name, all[name]!])));
  const { x, ...more } = Object.fromEntries(Object.entries(all).filter(([name]) => !names.includes(name)));
  const result = layer.forward(x!, { ...options, ...more });
  const output = result.output ?? result;
  let loss = 0;
  output.toFloat32Array().forEach((value, i) => (loss += factors[i]! * value));
  result.dispose();
  layer.dispose();
  return loss;
}

/** What differences of four points say, whose error falls with the fourth power of the step. */
function slope(at: (step: number) => number): number {
  const [near, far] = [STEP, 2 * STEP].map((step) => (at(step) - at(-step)) / (2 * step)) as [number, number];
  return (4 * near - far) / 3;
}

function compare(runtime: Runtime, tested: Case, recompute: boolean): void {
  const random = new Random(7);
  const layer = tested.make(runtime);
  const parameters = [...shapesOf(layer)].map(([name, shape]) => [name, drawn(random, shape, name)] as const);
  const inputs = Object.entries(tested.inputs).map(
    ([name, shape]) => [name, { ...drawn(random, [sizeOf(shape)], name), shape }] as const,
  );
  for (const [, { data }] of inputs) data.forEach((value, i) => (data[i] = value / 0.3));
  layer.load(Object.fromEntries(parameters));
  const all = Object.fromEntries([...parameters, ...inputs]);
  const learner = new Trainable(layer as unknown as LayerNorm, { recompute });
  const { x, ...more } = Object.fromEntries(inputs);
  const output = learner.forward(x!, { ...tested.options, ...more });
  // The values of the layer itself.
  const plain = layer.forward(x!, { ...tested.options, ...more });
  const values = (plain.output ?? plain).toFloat32Array();
  output.output.toFloat32Array().forEach((value, i) => expect(value).toBeCloseTo(values[i]!, 4));
  expect(output.output.shape).toEqual((plain.output ?? plain).shape);
  plain.dispose();

  const factors = Float64Array.from({ length: output.output.size }, () => random.normal());
  const upstream = { data: Float32Array.from(factors), shape: output.output.shape };
  const back = learner.backward(output.record, upstream);
  const gradients = new Map<string, ArrayLike<number>>([
    ...learner.parameterNames.map((name) => [name, learner.gradient(name).data] as const),
    ...inputs.map(([name]) => [name, back[name as keyof InputGradients & 'x'].toFloat32Array()] as const),
  ]);
  expect([...gradients.keys()].sort()).toEqual(Object.keys(all).sort());
  back.dispose();
  output.dispose();
  learner.dispose();
  layer.dispose();

  for (const [name, given] of Object.entries(all)) {
    const scale = 1 / Math.sqrt(given.data.length);
    const direction = Float64Array.from(given.data, () => scale * random.normal());
    const wanted = slope((step) =>
      lossOf(runtime, tested, { ...all, [name]: moved(given, direction, step) }, factors),
    );
    const terms = direction.map((value, i) => value * gradients.get(name)![i]!);
    const actual = terms.reduce((sum, value) => sum + value, 0);
    const size = terms.reduce((sum, value) => sum + Math.abs(value), 0);
    expect(Math.abs(actual - wanted), name).toBeLessThan(LIMIT * Math.max(1, size));
  }
}

const block = (
  title: string,
  more: Partial<TransformerBlockOptions>,
  options: BlockForwardOptions = {},
): Case => ({
  title: `TransformerBlock, ${title}`,
  make: (runtime) =>
    new TransformerBlock(runtime, {
      ...{ embedDim: 12, numHeads: 4, headDim: 5, feedForwardDim: 19, ...more },
    }),
  inputs: { x: [2, 7, 12], ...(more.crossAttention && { context: [2, 5, 12] }) },
  options,
});

const attention = (
  title: string,
  more: Partial<MultiHeadAttentionOptions>,
  inputs: Case['inputs'] = {},
  options: ForwardOptions = {},
): Case => ({
  title: `MultiHeadAttention, ${title}`,
  make: (runtime) => new MultiHeadAttention(runtime, { embedDim: 12, numHeads: 4, ...more }),
  inputs: { x: [2, 6, 12], ...inputs },
  options,
});

const dense = { data: Float32Array.from({ length: 49 }, (_, i) => Math.sin(i)), shape: [7, 7] };

const CASES: readonly Case[] = [
  {
    title: 'LayerNorm',
    make: (runtime) => new LayerNorm(runtime, { channels: 11 }) as unknown as TestedLayer,
    inputs: { x: [2, 3, 11] },
  },
  {
    title: 'LayerNorm of one row',
    make: (runtime) => new LayerNorm(runtime, { channels: 11 }) as unknown as TestedLayer,
    inputs: { x: [11] },
  },
  {
    title: 'RmsNorm',
    make: (runtime) => new RmsNorm(runtime, { channels: 11 }) as unknown as TestedLayer,
    inputs: { x: [4, 11] },
  },
  ...(['gelu', 'silu', 'geluTanh', 'quickGelu', 'tanh'] as const).flatMap((activation) =>
    [false, true].map((gated) => ({
      title: `FeedForward, ${activation}${gated ? ', gated, without biases' : ''}`,
      make: (runtime: Runtime) =>
        new FeedForward(runtime, {
          ...{ embedDim: 9, hiddenDim: 21, activation, gated, bias: !gated },
        }) as unknown as TestedLayer,
      inputs: { x: [2, 3, 9] },
    })),
  ),
  block('plain', {}),
  block('causal, one text', { causal: true }),
  block('RMS norms, gated, rotary, shared heads', {
    ...{ norm: 'rms', activation: 'silu', gated: true, bias: false, causal: true },
    ...{ numKeyValueHeads: 2, headDim: 6, rotary: { base: 100 } },
  }),
  ...(['after', 'around', 'inside'] as const).map((normPlacement) =>
    block(`norms ${normPlacement}`, { normPlacement }),
  ),
  block('parallel', { parallel: true }),
  block('softcap, scale, window', { softcap: 2, scale: 0.7, window: { left: 2, right: 1 } }),
  block('ALiBi', { alibi: true, causal: true }),
  block('norms of queries and keys, each head', { queryKeyNorm: 'head' }),
  block('norms of queries and keys, all heads', { queryKeyNorm: 'all', numKeyValueHeads: 2 }),
  block('attention only', { feedForwardDim: 0 }),
  block('lengths of keys', {}, { keyLengths: [7, 4] }),
  block('masks by rule and by number', {}, { mask: [slidingWindow({ left: 3, right: 2 }), dense] as never }),
  block(
    'positions',
    { headDim: 6, rotary: { base: 50, interleaved: true } },
    { positions: [3, 1, 4, 1, 5, 9, 2] },
  ),
  block('cross-attention', { crossAttention: true, causal: true }),
  block(
    'cross-attention with lengths',
    { crossAttention: true },
    { contextLengths: [2, 5], keyLengths: [7, 3] },
  ),
  {
    title: 'Transformer',
    make: (runtime) =>
      new Transformer(runtime, {
        ...{ numLayers: 3, embedDim: 12, numHeads: 4, headDim: 5, feedForwardDim: 19, causal: true },
      }),
    inputs: { x: [2, 7, 12] },
  },
  {
    title: 'Transformer with cross-attention',
    make: (runtime) =>
      new Transformer(runtime, {
        ...{ numLayers: 2, embedDim: 12, numHeads: 4, feedForwardDim: 19, crossAttention: true, norm: 'rms' },
      }),
    inputs: { x: [2, 4, 12], context: [2, 6, 12] },
    options: { contextLengths: [6, 3] },
  },
  attention('self', {}),
  attention('causal, without biases', { causal: true, bias: false }),
  attention('one text', {}, { x: [6, 12] }),
  attention('shared heads, other sizes', { numKeyValueHeads: 2, headDim: 5, valueHeadDim: 7 }),
  attention('rotary', { headDim: 6, rotary: { base: 30 } }, {}, { positions: [5, 3, 1, 0, 2, 9] }),
  attention('of a context', {}, { context: [2, 9, 12] }, { keyLengths: [9, 4] }),
  attention(
    'of a context of other widths',
    { kdim: 7, vdim: 10 },
    { context: [2, 9, 7], valueContext: [2, 9, 10] },
  ),
  attention('values from elsewhere', {}, { context: [2, 5, 12], valueContext: [2, 5, 12] }),
  attention(
    'bias and mask',
    {},
    {},
    {
      bias: { data: Float32Array.from({ length: 144 }, (_, i) => Math.cos(i)), shape: [4, 6, 6] },
      mask: { data: Uint8Array.from({ length: 36 }, (_, i) => Number(i % 5 !== 0)), shape: [6, 6] },
    },
  ),
  attention('window, softcap', { window: { left: 2, right: 0 }, softcap: 1.5, scale: 0.9 }),
];

await eachTrainingBuild('gradients of layers', (runtime) => {
  for (const [i, tested] of CASES.entries()) {
    it(tested.title, () => {
      const used = runtime.memory.used;
      compare(runtime, tested, i % 2 === 0);
      expect(runtime.memory.used).toBe(used);
    });
  }

  describe('Embedding', () => {
    const ids = [
      [3, 1, 3],
      [0, 4, 1],
    ];
    const types = [
      [0, 1, 1],
      [0, 0, 1],
    ];
    it.each([
      ['plain', {}],
      ['positions, kinds, a factor and a norm', { positions: 5, tokenTypes: 2, factor: 3, norm: true }],
    ])('%s', (_, more: { positions?: number; tokenTypes?: number; norm?: boolean }) => {
      const random = new Random(3);
      const layer = new Embedding(runtime, { vocabulary: 6, embedDim: 7, ...more });
      const shapes = shapesOf(layer as unknown as TestedLayer);
      const tensors = new Map([...shapes].map(([name, shape]) => [name, drawn(random, shape, name)]));
      layer.load(Object.fromEntries(tensors));
      const inputs = { inputIds: ids, ...(more.tokenTypes && { tokenTypeIds: types }) };
      const options = more.tokenTypes ? { tokenTypeIds: types } : {};
      const learner = new Trainable(layer);
      const { output, record } = learner.forward(inputs);
      const factors = Float64Array.from({ length: output.size }, () => random.normal());
      learner.backward(record, { data: Float32Array.from(factors), shape: output.shape }).dispose();
      record.dispose();
      output.dispose();
      for (const [name, given] of tensors) {
        const direction = Float64Array.from(given.data, () => random.normal());
        const wanted = slope((step) => {
          const other = new Embedding(runtime, { vocabulary: 6, embedDim: 7, ...more });
          other.load({ ...Object.fromEntries(tensors), [name]: moved(given, direction, step) });
          const result = other.forward(ids, options);
          const sum = result.toFloat32Array().reduce((sum, value, i) => sum + value * factors[i]!, 0);
          result.dispose();
          other.dispose();
          return sum;
        });
        const gradient = learner.gradient(name).data;
        const terms = direction.map((value, i) => value * gradient[i]!);
        const size = terms.reduce((sum, value) => sum + Math.abs(value), 0);
        expect(Math.abs(terms.reduce((sum, value) => sum + value, 0) - wanted), name).toBeLessThan(
          LIMIT * size,
        );
      }
      learner.dispose();
      layer.dispose();
    });
  });
});
