// The package judged by ONNX's own data, through the adapters in examples/onnx, on every build.

import { beforeAll, expect, it } from 'vitest';
import { KeyValueCache, scaledDotProductAttention, softmax } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import { layerNorm, meanPooling, model, rmsNorm } from 'wasm-attention/model';
import { onnxAttention } from '../../examples/onnx/attention.mjs';
import { onnxRotaryEmbedding } from '../../examples/onnx/rotary.mjs';
import { onnxTensorScatter } from '../../examples/onnx/tensor-scatter.mjs';
import { referenceAttention, referenceSoftmax } from '../reference/attention.js';
import { Random } from '../reference/random.js';
import { needs } from '../support/needs.js';
import { eachBuild } from '../support/runtimes.js';
import { compare, loadOnnxCases, numberAttribute, numbersOf, toleranceOf } from './onnx-cases.js';
import type { OnnxCase, OnnxTensor } from './onnx-cases.js';
import { runGraph } from './onnx-graph.js';
import type { OnnxGraph } from './onnx-graph.js';
import { contiguous, mapOnnxAttention, maskAt, onnxOutputs } from './onnx-mapping.js';
import type { StridedTensor } from './onnx-mapping.js';

type Outputs = Partial<Record<string, { dims: readonly number[]; data: ArrayLike<number> }>>;

/** Inputs as the adapters take them: bytes for booleans, floats for every other kind of number. */
function plainInputs({ inputs }: OnnxCase): never {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, tensor]) => [
      name,
      {
        dims: tensor.dims,
        type: tensor.dtype,
        data: tensor.dtype === 'bool' ? tensor.data : numbersOf(tensor),
      },
    ]),
  ) as never;
}

function runAttention(runtime: Runtime, onnxCase: OnnxCase): Outputs {
  const scores = 'qk_matmul_output' in onnxCase.outputs;
  return onnxAttention(runtime, plainInputs(onnxCase), onnxCase.attributes, { scores });
}

function runRotary(runtime: Runtime, onnxCase: OnnxCase): Outputs {
  return onnxRotaryEmbedding(runtime, plainInputs(onnxCase), onnxCase.attributes);
}

function runScatter(runtime: Runtime, onnxCase: OnnxCase): Outputs {
  return onnxTensorScatter(runtime, plainInputs(onnxCase), onnxCase.attributes);
}

/**
 * An Attention node with a past through a KeyValueCache: the past is appended, then the new tokens, then queries attend.
 * @returns undefined where a cache does not say what the node says
 */
function runThroughCache(runtime: Runtime, onnxCase: OnnxCase): Outputs | undefined {
  const node = mapOnnxAttention(onnxCase);
  const { past, window, causal, mask, softcap, scale, batch, keyHeads, headDim, queries, keys } = node;
  if (!past) return undefined;
  // In a cache the last query stands at the last token; the node's first one stands after the past.
  const offsetsDiffer = keys - queries !== past.key.dims[2];
  if (offsetsDiffer && (causal || window)) return undefined;
  const cache = new KeyValueCache(runtime, {
    ...{ batch, numKeyValueHeads: keyHeads, headDim, valueHeadDim: node.valueHeadDim, capacity: keys },
  });
  const plain = (view: StridedTensor) => {
    const { data, dims } = contiguous(view);
    return { data: Float32Array.from(data), shape: [...dims] };
  };
  if (past.key.dims[2] > 0) cache.append(0, plain(past.key), plain(past.value));
  cache.append(0, plain(past.newKey), plain(past.newValue));
  const result = cache.attend(0, plain(node.query), {
    ...{ scale, causal, window },
    ...(softcap > 0 && { softcap }),
    ...(mask && {
      mask: {
        data: mask.kind === 'boolean' ? mask.data : Float32Array.from(mask.data, finiteStaysFinite),
        shape: [...mask.dims],
      },
    }),
  });
  const output = Float64Array.from(result.output.data);
  result.dispose();
  cache.dispose();
  const { Y } = onnxOutputs(node, { output, scores: output });
  return { Y };
}

const finiteStaysFinite = (x: number) => (Number.isFinite(x) ? Math.max(Math.min(x, 3e38), -3e38) : x);

function runSoftmax(runtime: Runtime, onnxCase: OnnxCase): Outputs {
  const input = Object.values(onnxCase.inputs)[0]!;
  const data = Float32Array.from(numbersOf(input));
  const result = softmax(
    { data, shape: [...input.dims] },
    { axis: numberAttribute(onnxCase, 'axis', -1), runtime },
  );
  return Object.fromEntries(
    Object.keys(onnxCase.outputs).map((name) => [name, { dims: input.dims, data: result.data }]),
  );
}

/** The axes from `axis` on are one. Mean and InvStdDev are what a norm without weights says of them. */
function runNormalization(runtime: Runtime, onnxCase: OnnxCase): Outputs {
  const { X, Scale, scale = Scale, B } = onnxCase.inputs;
  const { dims } = X!;
  const given = numberAttribute(onnxCase, 'axis', -1);
  const axis = given < 0 ? given + dims.length : given;
  const channels = dims.slice(axis).reduce((product, length) => product * length, 1);
  const data = Float32Array.from(numbersOf(X!));
  const input = { data, shape: [data.length / channels, channels] };
  const vector = (tensor: OnnxTensor | undefined) => tensor && { data: numbersOf(tensor), shape: [channels] };
  const epsilon = numberAttribute(onnxCase, 'epsilon', 1e-5);
  const options = { epsilon, weight: vector(scale), runtime };
  if (onnxCase.op === 'RMSNormalization') return { Y: { dims, data: rmsNorm(input, options).data } };
  const reduced = dims.map((length, i) => (i < axis ? length : 1));
  const mean = meanPooling({ data, shape: [...input.shape, 1] }, { runtime }).data;
  const plain = layerNorm(input, { epsilon, runtime }).data;
  const inverse = Float64Array.from(mean, (average, row) => {
    const from = row * channels;
    const distances = Array.from({ length: channels }, (_, i) => Math.abs(data[from + i]! - average));
    const farthest = from + distances.indexOf(Math.max(...distances));
    return plain[farthest]! / (data[farthest]! - average);
  });
  return {
    Y: { dims, data: layerNorm(input, { ...options, bias: vector(B) }).data },
    Mean: { dims: reduced, data: mean },
    InvStdDev: { dims: reduced, data: inverse },
  };
}

/** What a case needs that the package's options cannot say: listed as skipped, with this as the reason. */
class NotCovered extends Error {}

/** f(s) = cap * tanh(scale * s / cap) + bias, or scale * s + bias; a bias of -Infinity removes. */
interface Modifier {
  scale: number;
  cap?: number;
  bias: Float64Array;
}

const isClose = (a: number, b: number) => a === b || Math.abs(a - b) <= 1e-6 * (1 + Math.abs(b));

/**
 * The options that a graph over scores (or weights) amounts to: guessed from what it makes of a few numbers at every
 * place, and then held against what it makes of random ones.
 */
function fitModifier(graph: OnnxGraph, dims: readonly number[]): Modifier {
  const size = dims.reduce((product, length) => product * length, 1);
  const apply = (data: Float64Array) => runGraph(graph, { dims, data }).data;
  const at = (score: number) => apply(new Float64Array(size).fill(score));
  const [zero, one, two, minus, large] = [at(0), at(1), at(2), at(-3), at(1e9)] as const;
  const isConstant = (k: number) => [one, two, minus, large].every((values) => values[k] === zero[k]);
  // A filler far below every score removes as -Infinity does, as long as the row keeps another key.
  const removed = zero.map((bias, k) => Number(isConstant(k) && bias <= -1e4));
  const keys = dims.at(-1)!;
  for (let row = 0; row < size; row += keys) {
    const isEmpty = removed.subarray(row, row + keys).every((is) => is === 1);
    if (isEmpty && zero.subarray(row, row + keys).some((bias) => bias !== -Infinity)) {
      throw new NotCovered('a modifier that fills a whole row');
    }
  }
  const kept = removed.indexOf(0);
  const fit: Modifier = { scale: 1, bias: zero.map((bias, k) => (removed[k] ? -Infinity : bias)) };
  if (kept >= 0) {
    const step = one[kept]! - zero[kept]!;
    const isLinear =
      isClose(two[kept]! - zero[kept]!, 2 * step) && isClose(minus[kept]! - zero[kept]!, -3 * step);
    const cap = Math.abs(large[kept]! - zero[kept]!);
    fit.scale = isLinear ? step : cap * Math.atanh(step / cap);
    if (!isLinear) fit.cap = cap;
  }
  const random = new Random(1);
  const scores = Float64Array.from({ length: size }, () => random.uniform(-4, 4));
  const { scale, cap } = fit;
  const isRight = apply(scores).every((actual, k) => {
    const scaled = scale * scores[k]!;
    return removed[k] || isClose(actual, (cap ? cap * Math.tanh(scaled / cap) : scaled) + zero[k]!);
  });
  if (!isRight || !Number.isFinite(scale))
    throw new NotCovered('a modifier that is no scale, softcap, bias or mask');
  return fit;
}

function runFlexAttention(runtime: Runtime, onnxCase: OnnxCase): Outputs {
  const { batch, queryHeads, queries, keys, scale } = mapOnnxAttention(onnxCase);
  const dims = [batch, queryHeads, queries, keys];
  const graphOf = (name: string) => onnxCase.attributes[name] as OnnxGraph | undefined;
  const [scoreGraph, weightGraph] = [graphOf('score_mod'), graphOf('prob_mod')];
  const score = scoreGraph && fitModifier(scoreGraph, dims);
  const weight = weightGraph && fitModifier(weightGraph, dims);
  if (weight?.cap !== undefined || weight?.bias.some((bias) => bias !== 0)) {
    throw new NotCovered('a prob_mod that is no factor');
  }
  const { Q, K, V } = onnxCase.inputs;
  const input = (tensor: typeof Q) => ({ data: numbersOf(tensor!), shape: [...tensor!.dims] });
  const { output } = scaledDotProductAttention(input(Q), input(K), input(V), {
    runtime,
    scale: scale * (score?.scale ?? 1),
    softcap: score?.cap,
    bias: score && { data: score.bias, shape: dims },
  });
  return { Y: { dims: output.shape, data: Array.from(output.data, (y) => y * (weight?.scale ?? 1)) } };
}

const RUNNERS: Record<string, (runtime: Runtime, onnxCase: OnnxCase) => Outputs> = {
  Attention: runAttention,
  FlexAttention: runFlexAttention,
  LayerNormalization: runNormalization,
  RMSNormalization: runNormalization,
  RotaryEmbedding: runRotary,
  Softmax: runSoftmax,
  TensorScatter: runScatter,
};

const cases = loadOnnxCases();

/** Runs every case of the file. */
function conforms(runtime: Runtime): void {
  it('are there', () => expect(cases).not.toBeNull());
  for (const onnxCase of cases ?? []) {
    const run = RUNNERS[onnxCase.op];
    if (run === undefined) {
      it(onnxCase.name, ({ skip }) => skip(`not covered: ${onnxCase.op} is outside this package`));
      continue;
    }
    it(onnxCase.name, (context) => {
      const used = runtime.memory.used;
      let actual: Outputs;
      try {
        actual = run(runtime, onnxCase);
      } catch (error) {
        if (!(error instanceof NotCovered)) throw error;
        context.skip(`not covered: ${error.message}`);
        return;
      }
      for (const [name, expected] of Object.entries(onnxCase.outputs)) {
        const output = actual[name];
        if (output === undefined) throw new Error(`the adapter gives no ${name}`);
        expect(compare(output, expected, toleranceOf(expected.dtype)).message, name).toBe('');
      }
      if (onnxCase.op === 'Attention') expect(runtime.memory.used).toBe(used);
    });
    if (onnxCase.inputs['past_key'] === undefined) continue;
    it(`${onnxCase.name}, through a cache`, (context) => {
      const actual = runThroughCache(runtime, onnxCase);
      if (!actual) return context.skip('not covered: queries that are not the last tokens');
      const expected = onnxCase.outputs['Y']!;
      expect(compare(actual['Y']!, expected, toleranceOf(expected.dtype)).message).toBe('');
    });
  }
}

await eachBuild('ONNX cases', (runtime) => {
  beforeAll(() => runtime.load(model));
  needs('ONNX-cases').describe('of the file', () => conforms(runtime));
});

// The rules themselves, on nodes that no file holds: the adapter against the reference, each with a reading of its own.

interface Made {
  dims: readonly number[];
  dtype: OnnxTensor['dtype'];
}

/** A random Attention node. Every rule has its turn: layouts, shared heads, past or lengths, windows, modes, masks. */
function randomNode(seed: number): OnnxCase {
  const random = new Random(seed);
  const pick = <T>(...choices: T[]): T => choices[random.integer(0, choices.length - 1)]!;
  const [batch, keyHeads, group] = [random.integer(1, 3), random.integer(1, 3), random.integer(1, 3)];
  const [queries, added] = [random.integer(1, 7), random.integer(1, 9)];
  const [dim, valueDim] = [random.integer(1, 9), random.integer(1, 9)];
  const heads = keyHeads * group;
  const [flat, cache] = [random.boolean(), pick('none', 'past', 'lengths')];
  const past = cache === 'past' ? random.integer(0, 6) : 0;
  const keys = past + added;
  const number = ({ dims, dtype }: Made, draw: () => number): OnnxTensor => {
    const data = Array.from({ length: dims.reduce((size, length) => size * length, 1) }, draw);
    if (dtype === 'bool') return { dtype, dims, data: Uint8Array.from(data) };
    if (dtype === 'int64') return { dtype, dims, data: BigInt64Array.from(data, BigInt) };
    return { dtype, dims, data: dtype === 'float64' ? Float64Array.from(data) : Float32Array.from(data) };
  };
  const normal = (...dims: number[]) => number({ dims, dtype: 'float32' }, () => random.normal());
  const packed = (count: number, length: number, size: number) =>
    flat ? normal(batch, length, count * size) : normal(batch, count, length, size);
  const attributes: Record<string, unknown> = flat ? { q_num_heads: heads, kv_num_heads: keyHeads } : {};
  const maybe = (name: string, value: number) => {
    if (random.boolean()) attributes[name] = value;
  };
  maybe('is_causal', random.integer(0, 1));
  maybe('scale', random.uniform(0, 1.5));
  maybe('softcap', pick(0, 0.5, 3));
  maybe('left_window_size', random.integer(-1, 5));
  maybe('right_window_size', random.integer(-1, 5));
  maybe('qk_matmul_output_mode', random.integer(0, 3));
  maybe('softmax_precision', pick(1, 10, 11, 16));
  const inputs: Record<string, OnnxTensor> = {
    Q: packed(heads, queries, dim),
    K: packed(keyHeads, added, dim),
    V: packed(keyHeads, added, valueDim),
  };
  if (cache === 'past') {
    inputs['past_key'] = normal(batch, keyHeads, past, dim);
    inputs['past_value'] = normal(batch, keyHeads, past, valueDim);
  }
  if (cache === 'lengths') {
    inputs['nonpad_kv_seqlen'] = number({ dims: [batch], dtype: 'int64' }, () => random.integer(0, keys));
  }
  if (random.boolean(0.7)) {
    const whole = [batch, heads, queries].map((length) => (random.boolean() ? length : 1));
    const dims = [...whole, random.boolean() ? keys : random.integer(1, keys)].slice(
      4 - random.integer(1, 4),
    );
    const dtype = pick('bool', 'float32', 'float64', 'float16', 'int64');
    inputs['attn_mask'] = number({ dims, dtype }, () => {
      if (dtype === 'bool') return random.integer(0, 1);
      if (dtype === 'int64') return random.integer(-20, 20);
      return pick(-Infinity, 0, random.integer(-8, 8) / 4, dtype === 'float16' ? -32 : -1e30);
    });
  }
  return {
    ...{ name: `node ${seed}`, domain: '', op: 'Attention', opset: 25, features: [], attributes, inputs },
    outputs: { qk_matmul_output: normal(0) },
  };
}

/** The node's outputs as the reference computes them. */
function expectedOutputs(onnxCase: OnnxCase): Outputs {
  const node = mapOnnxAttention(onnxCase);
  const { mask, keyLengths, offset, window, causal } = node;
  const { output, weights, scores } = referenceAttention(
    {
      ...node,
      query: contiguous(node.query).data,
      key: contiguous(node.key).data,
      value: contiguous(node.value).data,
    },
    {
      ...{ scale: node.scale, softcap: node.softcap, keyLengths, window, windowOffset: offset },
      causalOffset: causal ? offset : undefined,
      booleanMask: mask?.kind === 'boolean' ? (...place) => maskAt(mask, ...place) === 1 : undefined,
      floatMask: mask?.kind === 'float' ? (...place) => maskAt(mask, ...place) : undefined,
    },
  );
  const shown = [scores.scaled, scores.capped, scores.masked, weights][node.scoreMode]!;
  return onnxOutputs(node, { output, scores: shown });
}

await eachBuild('ONNX rules', (runtime) => {
  it('hold on random nodes', () => {
    const { used } = runtime.memory;
    for (let seed = 0; seed < 1500; seed++) {
      const onnxCase = randomNode(seed);
      const actual = runAttention(runtime, onnxCase);
      for (const [name, expected] of Object.entries(expectedOutputs(onnxCase))) {
        const wanted: OnnxTensor = {
          dtype: 'float64',
          dims: expected!.dims,
          data: Float64Array.from(expected!.data),
        };
        const { message } = compare(actual[name]!, wanted);
        if (message !== '') expect.fail(`${name} of node ${seed}: ${message}`);
      }
    }
    expect(runtime.memory.used).toBe(used);
  });

  it('hold through a cache on random nodes with a past', () => {
    const { used } = runtime.memory;
    let compared = 0;
    for (let seed = 0; seed < 1500; seed++) {
      const onnxCase = randomNode(seed);
      const actual = runThroughCache(runtime, onnxCase);
      if (!actual) continue;
      compared++;
      const { dims, data } = expectedOutputs(onnxCase)['Y']!;
      const wanted: OnnxTensor = { dtype: 'float64', dims, data: Float64Array.from(data) };
      const { message } = compare(actual['Y']!, wanted);
      if (message !== '') expect.fail(`node ${seed}: ${message}`);
    }
    expect(compared).toBeGreaterThan(100);
    expect(runtime.memory.used).toBe(used);
  });

  it('of TensorScatter hold on random nodes', () => {
    for (let seed = 0; seed < 300; seed++) {
      const random = new Random(seed);
      const rank = random.integer(2, 5);
      const axis = random.integer(1, rank - 1);
      const dims = Array.from({ length: rank }, () => random.integer(1, 4));
      const room = (dims[axis] = random.integer(1, 9));
      const length = random.integer(1, room);
      const mode = random.boolean() ? 'circular' : 'linear';
      const starts = Array.from({ length: dims[0]! }, () =>
        random.integer(0, mode === 'circular' ? 2 * room : room - length),
      );
      const size = (sizes: number[]) => sizes.reduce((product, n) => product * n, 1);
      const updated = dims.map((n, i) => (i === axis ? length : n));
      const past = random.array(size(dims), 'normal');
      const update = random.array(size(updated), 'normal');
      // The rule, number by number: where a number of the update goes.
      const expected = Float64Array.from(past);
      update.forEach((value, at) => {
        const place = updated.map((_, i) => Math.floor(at / size(updated.slice(i + 1))) % updated[i]!);
        place[axis] = (place[axis]! + starts[place[0]!]!) % room;
        expected[place.reduce((index, p, i) => index * dims[i]! + p, 0)] = value;
      });
      const { present_cache } = onnxTensorScatter(
        runtime,
        {
          past_cache: { dims, data: past },
          update: { dims: updated, data: update },
          write_indices: { data: starts },
        },
        { mode, axis: random.boolean() ? axis : axis - rank },
      );
      expect(present_cache.dims).toEqual(dims);
      expect(Float64Array.from(present_cache.data)).toEqual(expected);
    }
    const cache = { dims: [1, 2, 1], data: [1, 2] };
    const late = { past_cache: cache, update: cache, write_indices: { data: [1] } };
    expect(() => onnxTensorScatter(runtime, late, {})).toThrow(/write_indices.*\[1, 3\) of 2/);
  });

  it('attend where every number of a row is finite, however low', () => {
    const q = { dims: [1, 1, 1, 1], data: [1] };
    const k = { dims: [1, 1, 3, 1], data: [0, 0.5, 1] };
    const v = { dims: [1, 1, 3, 1], data: [1, 2, 6] };
    const y = (low: number) => {
      const attn_mask = { dims: [3], data: Float64Array.of(low, low, low) };
      return onnxAttention(runtime, { Q: q, K: k, V: v, attn_mask }, {}).Y.data[0];
    };
    // What float32 leaves of the scores: steps of 2^-7 in powers of two here, nothing beyond 2^26.
    const plain = y(0)!;
    expect(Math.abs(y(-65504)! - plain)).toBeLessThan(2 ** -7 * 6);
    expect(y(-1e30)).toBeCloseTo(3, 5);
    expect(y(-2e38)).toBeCloseTo(3, 5);
  });

  it('tell masks of bytes from masks of numbers', () => {
    const plain = (dims: number[], ...data: number[]) => ({ dims, data });
    const inputs = { Q: plain([1, 1, 1, 1], 0), K: plain([1, 1, 2, 1], 1, 2), V: plain([1, 1, 2, 1], 0, 1) };
    const bytes = { dims: [2], data: Uint8Array.of(0, 1) };
    const y = (attn_mask: object) =>
      onnxAttention(runtime, { ...inputs, attn_mask: attn_mask as never }, {}).Y.data[0];
    expect(y(bytes)).toBe(1);
    expect(y({ ...bytes, type: 'bool' })).toBe(1);
    expect(y({ ...bytes, type: 'uint8' })).toBeCloseTo(1 / (1 + Math.exp(-1)), 5);
  });

  it('refuse a mode that does not exist, and leave nothing behind', () => {
    const { used } = runtime.memory;
    const one = { dims: [1, 1, 1, 1], data: [1] };
    expect(() =>
      onnxAttention(runtime, { Q: one, K: one, V: one }, { qk_matmul_output_mode: 4 }, { scores: true }),
    ).toThrow(/qk_matmul_output_mode/);
    expect(runtime.memory.used).toBe(used);
  });
});

/** A modifier as the cases spell it; constants are float32, or int64 where they are bigint. */
function graphOf(lines: string[], constants: Record<string, number | bigint> = {}): OnnxGraph {
  const hex = (value: number | bigint) =>
    Buffer.from(
      (typeof value === 'bigint' ? BigInt64Array.of(value) : Float32Array.of(value)).buffer,
    ).toString('hex');
  return {
    ...{ graph: lines, inputs: ['s'], outputs: ['y'] },
    constants: Object.fromEntries(Object.entries(constants).map(([name, value]) => [name, hex(value)])),
  };
}

const PLACES = [
  'shape = Shape(s)',
  'queries = Gather(shape, i2)',
  'keys = Gather(shape, i3)',
  'i = Range(i0, queries, i1)',
  'row = Unsqueeze(i, i1)',
  'j = Range(i0, keys, i1)',
];
const INDICES = { i0: 0n, i1: 1n, i2: 2n, i3: 3n };

await eachBuild('FlexAttention modifiers', (runtime) => {
  const random = new Random(9);
  const tensor = (...dims: number[]): OnnxTensor => ({
    ...{ dtype: 'float32', dims },
    data: random.array(dims.reduce((size, length) => size * length, 1)),
  });
  const inputs = { Q: tensor(2, 4, 5, 8), K: tensor(2, 2, 5, 8), V: tensor(2, 2, 5, 3) };
  const node = (attributes: OnnxCase['attributes']): OnnxCase => ({
    ...{ name: 'made here', domain: '', op: 'FlexAttention', opset: 1, features: [], outputs: {} },
    ...{ attributes, inputs },
  });

  /** Scores, graph, softmax, graph, values. */
  function expected(attributes: OnnxCase['attributes']): Float64Array {
    const attention = mapOnnxAttention(node(attributes));
    const given = {
      ...attention,
      query: contiguous(attention.query).data,
      key: contiguous(attention.key).data,
      value: contiguous(attention.value).data,
    };
    const dims = [2, 4, 5, 5];
    const apply = (name: string, data: Float64Array) =>
      attributes[name] ? runGraph(attributes[name] as OnnxGraph, { dims, data }).data : data;
    const scores = apply('score_mod', referenceAttention(given, { scale: attention.scale }).scores.scaled);
    const weights = apply('prob_mod', referenceSoftmax(scores, dims));
    return Float64Array.from({ length: 2 * 4 * 5 * 3 }, (_, at) => {
      const [d, row] = [at % 3, Math.floor(at / 3)];
      const keyHead = Math.floor(row / 5 / 2); // [batch, head] of 2 x 4, halved: [batch, key head] of 2 x 2
      let sum = 0;
      for (let j = 0; j < 5; j++) sum += weights[row * 5 + j]! * given.value[(keyHead * 5 + j) * 3 + d]!;
      return sum;
    });
  }

  const causal = [...PLACES, 'kept = GreaterOrEqual(row, j)', 'y = Where(kept, s, low)'];
  it.each<[string, OnnxCase['attributes']]>([
    ['nothing', {}],
    ['a factor', { score_mod: graphOf(['y = Mul(s, f)'], { f: -0.5 }) }],
    ['a softcap', { score_mod: graphOf(['a = Div(s, c)', 'b = Tanh(a)', 'y = Mul(b, c)'], { c: 0.75 }) }],
    ['a distance', { score_mod: graphOf([...PLACES, 'd = Sub(row, j)', 'y = Add(s, d)'], INDICES) }],
    ['causality', { score_mod: graphOf(causal, { ...INDICES, low: -Infinity }) }],
    ['causality by a filler', { score_mod: graphOf(causal, { ...INDICES, low: -1e9 }) }],
    [
      'a softcap under causality',
      {
        score_mod: graphOf(
          ['t = Tanh(s)', ...PLACES, 'kept = GreaterOrEqual(row, j)', 'y = Where(kept, t, low)'],
          { ...INDICES, low: -Infinity },
        ),
      },
    ],
    ['a factor on weights', { prob_mod: graphOf(['y = Mul(s, f)'], { f: 0.25 }) }],
  ])('%s is an option', (_what, attributes) => {
    const { Y } = runFlexAttention(runtime, node(attributes));
    const wanted: OnnxTensor = { dtype: 'float64', dims: [2, 4, 5, 3], data: expected(attributes) };
    expect(compare(Y!, wanted).message).toBe('');
  });

  it.each<[string, OnnxCase['attributes']]>([
    ['a rectifier', { score_mod: graphOf(['y = Relu(s)']) }],
    ['a square', { score_mod: graphOf(['y = Mul(s, s)']) }],
    ['a factor by the place', { score_mod: graphOf([...PLACES, 'y = Mul(s, j)'], INDICES) }],
    [
      'a filler of whole rows',
      {
        score_mod: graphOf([...PLACES, 'kept = Greater(row, j)', 'y = Where(kept, s, low)'], {
          ...INDICES,
          low: -1e9,
        }),
      },
    ],
    ['an addend to weights', { prob_mod: graphOf(['y = Add(s, f)'], { f: 0.25 }) }],
  ])('%s is not, and says so', (_what, attributes) => {
    expect(() => runFlexAttention(runtime, node(attributes))).toThrow(NotCovered);
  });
});
