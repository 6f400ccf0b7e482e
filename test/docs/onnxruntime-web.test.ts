// What docs/migrating-from-onnxruntime-web.md says, line by line, against the library itself, which bench/ installs.

import { createRequire } from 'node:module';
import { afterAll, expect, it } from 'vitest';
import {
  createRuntime,
  KeyValueCache,
  linear,
  LinearWeights,
  rotaryEmbedding,
  scaledDotProductAttention,
  softmax,
} from 'wasm-attention';
import type { ScaledDotProductAttentionOptions, Tensor } from 'wasm-attention';
import { seededArray } from '../reference/random.js';
import { needs } from '../support/needs.js';

type Numbers = Float32Array | Int32Array | BigInt64Array;
type Attributes = Record<string, number | { float: number }>;

interface Graph {
  constant(dims: number[], data: Numbers): string;
  apply(
    operator: string,
    inputs: string[],
    attributes: Attributes,
    options: { domain: string; outputs: number },
  ): string[];
  encode(output: string, dims: number[]): Uint8Array;
}

interface Ort {
  env: { wasm: { numThreads: number } };
  InferenceSession: {
    create(
      model: Uint8Array,
      options: object,
    ): Promise<{ run(feeds: object): Promise<Record<string, { data: Float32Array }>> }>;
  };
}

/** The library, and what makes models for it. */
async function load(): Promise<{ ort: Ort; Graph: new () => Graph }> {
  const ort = createRequire(new URL('../../bench/package.json', import.meta.url))('onnxruntime-web') as Ort;
  ort.env.wasm.numThreads = 1;
  const { GraphBuilder } = (await import('../../bench/peers/onnx/model.mjs')) as unknown as {
    GraphBuilder: new () => Graph;
  };
  return { ort, Graph: GraphBuilder };
}

const runtime = await createRuntime();
afterAll(() => {
  runtime.dispose();
});

/** The first output of one operator there. Inputs are constants: a list of dims and numbers, or undefined. */
async function there(
  operator: string,
  inputs: ([number[], Numbers] | undefined)[],
  attributes: Attributes,
  shape: number[],
  domain = 'com.microsoft',
  outputs = 1,
): Promise<Float32Array> {
  const { ort, Graph } = await load();
  const graph = new Graph();
  const names = inputs.map((input) => (input ? graph.constant(...input) : ''));
  const [output] = graph.apply(operator, names, attributes, { domain, outputs });
  const session = await ort.InferenceSession.create(graph.encode(output!, shape), {
    executionProviders: ['wasm'],
    graphOptimizationLevel: 'disabled',
    logSeverityLevel: 3,
  });
  return (await session.run({}))[output!]!.data;
}

function expectEqual(received: Float32Array, expected: Float32Array): void {
  expect(received.length).toBe(expected.length);
  const worst = received.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0);
  expect(worst).toBeLessThan(1e-5);
  expect(expected.some((value) => Math.abs(value) > 0.01)).toBe(true);
}

const [batch, length, heads, kvHeads, headDim] = [2, 6, 4, 2, 16];
const width = heads * headDim;
const kvWidth = kvHeads * headDim;
const random = (size: number, seed: number) => seededArray(seed, size);

/** [batch, length, heads * headDim] by heads: a view. */
function byHeads(data: Float32Array, tokens: number, count: number, rows = batch): Tensor {
  return runtime.tensor(data, [rows, tokens, count, headDim]).transpose(1, 2);
}

/** The heads back inside rows. */
const inRows = (output: Tensor) => output.transpose(1, 2).toFloat32Array();

const booleans = (mask: Int32Array, shape: number[]) => ({ data: Uint8Array.from(mask), shape });

needs('bench').describe('com.microsoft.MultiHeadAttention', () => {
  const rows = [batch, length, width];
  const q = random(batch * length * width, 1);
  const k = random(batch * length * width, 2);
  const v = random(batch * length * width, 3);
  const bias = random(3 * width, 4);
  const scores = random(batch * heads * length * length, 5);

  /** The bias of the projections, added before. */
  const biased = (data: Float32Array, part: number) =>
    data.map((x, i) => x + bias[part * width + (i % width)]!);
  const here = (options: ScaledDotProductAttentionOptions, withBias = false) => {
    const [query, key, value] = [q, k, v].map((data, part) =>
      byHeads(withBias ? biased(data, part) : data, length, heads),
    ) as [Tensor, Tensor, Tensor];
    return inRows(scaledDotProductAttention(query, key, value, options).output);
  };
  const keys = Int32Array.of(1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 1);
  const pairs = Int32Array.from({ length: batch * length * length }, (_, i) => Number(i % 3 !== 1));
  const lengths = Int32Array.of(6, 4);

  it.each<
    [
      string,
      (readonly [number, [number[], Numbers]])[],
      Attributes,
      ScaledDotProductAttentionOptions,
      boolean?,
    ]
  >([
    ['no option', [], {}, {}],
    ['scale', [], { scale: { float: 0.2 } }, { scale: 0.2 }],
    ['bias', [[3, [[3 * width], bias]]], {}, {}, true],
    ['key_padding_mask [batch]', [[4, [[batch], lengths]]], {}, { keyLengths: lengths }],
    [
      'key_padding_mask [batch, keys]',
      [[4, [[batch, length], keys]]],
      {},
      { mask: booleans(keys, [batch, 1, 1, length]) },
    ],
    [
      'key_padding_mask [batch, queries, keys]',
      [[4, [[batch, length, length], pairs]]],
      {},
      { mask: booleans(pairs, [batch, 1, length, length]) },
    ],
    [
      'attention_bias',
      [[5, [[batch, heads, length, length], scores]]],
      {},
      { bias: { data: scores, shape: [batch, heads, length, length] } },
    ],
    ['unidirectional', [], { unidirectional: 1 }, { causal: true }],
  ])('%s', async (_, more, attributes, options, withBias) => {
    const inputs: ([number[], Numbers] | undefined)[] = [
      [rows, q],
      [rows, k],
      [rows, v],
    ];
    for (const [place, input] of more) inputs[place] = input;
    const all = Array.from(inputs, (input) => input);
    const expected = await there('MultiHeadAttention', all, { num_heads: heads, ...attributes }, rows);
    expectEqual(here(options, withBias), expected);
  });

  it('unidirectional with a past', async () => {
    const before = 2;
    const all = [q, k, v].map((data) => byHeads(data, length, heads)) as [Tensor, Tensor, Tensor];
    const past = (of: Tensor): [number[], Numbers] => [
      [batch, heads, before, headDim],
      of.slice(2, 0, before).toFloat32Array(),
    ];
    const rest = (of: Tensor): [number[], Numbers] => [
      [batch, length - before, width],
      inRows(of.slice(2, before, length)),
    ];
    const given = [...all.map(rest), undefined, undefined, undefined, past(all[1]), past(all[2])];
    const attributes = { num_heads: heads, unidirectional: 1 };
    const shape = [batch, length - before, width];
    const expected = await there('MultiHeadAttention', given, attributes, shape, 'com.microsoft', 3);
    const options = { causal: true, queryOffset: before };
    const { output } = scaledDotProductAttention(all[0].slice(2, before, length), all[1], all[2], options);
    expectEqual(inRows(output), expected);
  });
});

needs('bench').describe('com.microsoft.Attention', () => {
  const inputs = 5;
  const x = random(batch * length * inputs, 11);
  const weights = random(inputs * 3 * width, 12);
  const bias = random(3 * width, 13);
  const pairs = Int32Array.from({ length: batch * length * length }, (_, i) => Number(i % 3 !== 1));
  const keys = Int32Array.of(1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 1);
  const lengths = Int32Array.of(6, 4);
  const [ends, starts] = [
    [6, 5],
    [2, 0],
  ] as const;
  const between = Int32Array.from({ length: batch * length }, (_, i) =>
    Number(starts[Math.floor(i / length)]! <= i % length && i % length < ends[Math.floor(i / length)]!),
  );

  it.each<[string, [number[], Int32Array] | undefined, Attributes, ScaledDotProductAttentionOptions]>([
    ['no mask', undefined, {}, {}],
    ['unidirectional', undefined, { unidirectional: 1 }, { causal: true }],
    ['mask_index [batch]', [[batch], lengths], {}, { keyLengths: lengths }],
    [
      'mask_index [2 batch]',
      [[2 * batch], Int32Array.of(...ends, ...starts)],
      {},
      { mask: booleans(between, [batch, 1, 1, length]) },
    ],
    [
      'mask_index [batch, keys]',
      [[batch, length], keys],
      {},
      { mask: booleans(keys, [batch, 1, 1, length]) },
    ],
    [
      'mask_index [batch, queries, keys]',
      [[batch, length, length], pairs],
      {},
      { mask: booleans(pairs, [batch, 1, length, length]) },
    ],
  ])('%s', async (_, mask, attributes, options) => {
    const given: ([number[], Numbers] | undefined)[] = [
      [[batch, length, inputs], x],
      [[inputs, 3 * width], weights],
      [[3 * width], bias],
      mask,
    ];
    const shape = [batch, length, width];
    const expected = await there('Attention', given, { num_heads: heads, ...attributes }, shape);
    // [inputs, outputs] there, [outputs, inputs] here.
    const turned = weights.map((_, i) => weights[(i % inputs) * 3 * width + Math.floor(i / inputs)]!);
    const packed = new LinearWeights(
      runtime,
      { data: turned, shape: [3 * width, inputs] },
      { data: bias, shape: [3 * width] },
    );
    const projected = linear({ data: x, shape: [batch, length, inputs] }, packed);
    const [query, key, value] = [0, 1, 2].map((i) =>
      projected
        .slice(2, i * width, (i + 1) * width)
        .reshape([batch, length, heads, headDim])
        .transpose(1, 2),
    ) as [Tensor, Tensor, Tensor];
    expectEqual(inRows(scaledDotProductAttention(query, key, value, options).output), expected);
  });
});

needs('bench').describe('com.microsoft.GroupQueryAttention', () => {
  const q = random(length * width, 21);
  const k = random(length * kvWidth, 22);
  const v = random(length * kvWidth, 23);
  const sinks = random(heads, 24);
  const [pairs, positions] = [headDim / 2, 16];
  const angle = (i: number) => Math.floor(i / pairs) * 10000 ** (-(i % pairs) / pairs);
  const cos = Float32Array.from({ length: positions * pairs }, (_, i) => Math.cos(angle(i)));
  const sin = Float32Array.from({ length: positions * pairs }, (_, i) => Math.sin(angle(i)));

  /** Without a past. */
  const inputs = (extra: ([number[], Numbers] | undefined)[] = []): ([number[], Numbers] | undefined)[] => [
    [[1, length, width], q],
    [[1, length, kvWidth], k],
    [[1, length, kvWidth], v],
    undefined,
    undefined,
    [[1], Int32Array.of(length - 1)],
    [[], Int32Array.of(length)],
    ...extra,
  ];
  const attributes = { num_heads: heads, kv_num_heads: kvHeads };
  const grouped = (given: ([number[], Numbers] | undefined)[], more: Attributes, tokens = length) =>
    there('GroupQueryAttention', given, { ...attributes, ...more }, [1, tokens, width], 'com.microsoft', 3);
  const here = (options: ScaledDotProductAttentionOptions) =>
    inRows(
      scaledDotProductAttention(
        byHeads(q, length, heads, 1),
        byHeads(k, length, kvHeads, 1),
        byHeads(v, length, kvHeads, 1),
        { causal: true, ...options },
      ).output,
    );

  it.each<[string, ([number[], Numbers] | undefined)[], Attributes, ScaledDotProductAttentionOptions]>([
    ['is causal unless said otherwise', [], {}, {}],
    ['local_window_size', [], { local_window_size: 3 }, { window: { left: 2, right: 0 } }],
    ['softcap', [], { softcap: { float: 1.5 } }, { softcap: 1.5 }],
    ['softcap 0', [], { softcap: { float: 0 } }, {}],
    ['scale 0', [], { scale: { float: 0 } }, {}],
    ['smooth_softmax', [], { smooth_softmax: 1 }, { sinks: new Float32Array(heads) }],
    ['head_sink', [undefined, undefined, undefined, undefined, [[heads], sinks]], {}, { sinks }],
  ])('%s', async (_, extra, more, options) => {
    const expected = await there('GroupQueryAttention', inputs(extra), { ...attributes, ...more }, [
      1,
      length,
      width,
    ]);
    expectEqual(here(options), expected);
  });

  it.each([0, 1])('do_rotary and a cache, step by step; rotary_interleaved %i', async (interleaved) => {
    const tables: [number[], Numbers][] = [
      [[positions, pairs], cos],
      [[positions, pairs], sin],
    ];
    const rotary = { do_rotary: 1, rotary_interleaved: interleaved };
    const expected = await grouped(inputs(tables), rotary);
    const cache = new KeyValueCache(runtime, {
      numKeyValueHeads: kvHeads,
      headDim,
      rotary: { interleaved: interleaved === 1 },
    });
    const received = new Float32Array(length * width);
    for (const [from, to] of [
      [0, 4],
      [4, 5],
      [5, 6],
    ] as const) {
      const part = (data: Float32Array, count: number) =>
        byHeads(data.slice(from * count * headDim, to * count * headDim), to - from, count, 1);
      cache.append(0, part(k, kvHeads), part(v, kvHeads));
      received.set(inRows(cache.attend(0, part(q, heads)).output), from * width);
    }
    expectEqual(received, expected);
    expect(cache.lengths()).toEqual([length]); // seqlens_k + 1
    cache.dispose();
  });

  it('packed queries, keys and values', async () => {
    const side = width + 2 * kvWidth;
    const packed = Float32Array.from({ length: length * side }, (_, i) => {
      const [row, channel] = [Math.floor(i / side), i % side];
      if (channel < width) return q[row * width + channel]!;
      const [from, at] = channel < width + kvWidth ? [k, channel - width] : [v, channel - width - kvWidth];
      return from[row * kvWidth + at]!;
    });
    const given = [
      [[1, length, side], packed] as [number[], Numbers],
      undefined,
      undefined,
      ...inputs().slice(3),
    ];
    const expected = await grouped(given, {});
    const rows = runtime.tensor(packed, [1, length, side]);
    const part = (from: number, count: number) =>
      rows
        .slice(2, from, from + count * headDim)
        .reshape([1, length, count, headDim])
        .transpose(1, 2);
    const { output } = scaledDotProductAttention(
      part(0, heads),
      part(width, kvHeads),
      part(width + kvWidth, kvHeads),
      { causal: true },
    );
    expectEqual(inRows(output), expected);
  });

  it('past_key and past_value, as a cache', async () => {
    const before = 4;
    const past = (data: Float32Array): [number[], Numbers] => [
      [1, kvHeads, before, headDim],
      byHeads(data.slice(0, before * kvWidth), before, kvHeads, 1).toFloat32Array(),
    ];
    const rest = (data: Float32Array, size: number): [number[], Numbers] => [
      [1, length - before, size],
      data.slice(before * size),
    ];
    const given = [
      rest(q, width),
      rest(k, kvWidth),
      rest(v, kvWidth),
      past(k),
      past(v),
      ...inputs().slice(5),
    ];
    const expected = await grouped(given, {}, length - before);
    expectEqual(here({}).slice(before * width), expected);
  });

  it('RotaryEmbedding', async () => {
    const ids = Int32Array.of(3, 4, 5, 9, 10, 0);
    const expected = await there(
      'RotaryEmbedding',
      [
        [[1, heads, length, headDim], q],
        [[1, length], BigInt64Array.from(ids, BigInt)],
        [[positions, pairs], cos],
        [[positions, pairs], sin],
      ],
      {},
      [1, heads, length, headDim],
    );
    const input = { data: q, shape: [1, heads, length, headDim] };
    const tables = {
      cos: { data: cos, shape: [positions, pairs] },
      sin: { data: sin, shape: [positions, pairs] },
    };
    expectEqual(rotaryEmbedding(input, { runtime, tables, positions: ids }).toFloat32Array(), expected);
    expectEqual(rotaryEmbedding(input, { runtime, positions: ids }).toFloat32Array(), expected); // the default base
  });
});

needs('bench').describe('Gemm and Softmax', () => {
  const [rows, inner, outer] = [3, 5, 7];
  const x = random(rows * inner, 31);
  const w = random(outer * inner, 32);
  const b = random(outer, 33);

  it('Gemm with transB', async () => {
    const given: [number[], Numbers][] = [
      [[rows, inner], x],
      [[outer, inner], w],
      [[outer], b],
    ];
    const expected = await there('Gemm', given, { transB: 1 }, [rows, outer], '');
    const weights = new LinearWeights(
      runtime,
      { data: w, shape: [outer, inner] },
      { data: b, shape: [outer] },
    );
    expectEqual(linear({ data: x, shape: [rows, inner] }, weights).toFloat32Array(), expected);
  });

  it('Softmax along an axis', async () => {
    const expected = await there('Softmax', [[[rows, inner], x]], { axis: 0 }, [rows, inner], '');
    expectEqual(softmax({ data: x, shape: [rows, inner] }, { axis: 0, runtime }).toFloat32Array(), expected);
  });
});

needs('bench').it('a row whose keys are all masked', async () => {
  const q = random(length * width, 41);
  const shape = [1, length, width];
  const given: ([number[], Numbers] | undefined)[] = [
    [shape, q],
    [shape, q],
    [shape, q],
    undefined,
    [[1, length], new Int32Array(length)],
  ];
  const masked = await there('MultiHeadAttention', given, { num_heads: heads }, shape);
  const unmasked = await there('MultiHeadAttention', given.slice(0, 3), { num_heads: heads }, shape);
  const worst = masked.reduce((most, value, i) => Math.max(most, Math.abs(value - unmasked[i]!)), 0);
  expect(worst).toBeLessThan(1e-2); // as if nothing were masked: -10000 on every score leaves few of its bits
  const x = byHeads(q, length, heads, 1);
  const mask = { data: new Uint8Array(length), shape: [1, 1, 1, length] };
  expect(scaledDotProductAttention(x, x, x, { mask }).output.toFloat32Array()).toEqual(
    new Float32Array(length * width),
  );
});
