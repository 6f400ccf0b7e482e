// The reference against ONNX's data, which comes from elsewhere, and against sums done by hand.

import { describe, expect, it } from 'vitest';
import {
  compare,
  loadOnnxCases,
  numberAttribute,
  numbersOf,
  requiredTensor,
  toleranceOf,
} from '../conformance/onnx-cases.js';
import type { OnnxCase, OnnxTensor, Tolerance } from '../conformance/onnx-cases.js';
import { runGraph } from '../conformance/onnx-graph.js';
import type { OnnxGraph } from '../conformance/onnx-graph.js';
import { contiguous, mapOnnxAttention, maskAt, onnxOutputs } from '../conformance/onnx-mapping.js';
import type { OnnxAttention } from '../conformance/onnx-mapping.js';
import {
  mergeHeads,
  referenceAttention,
  referenceLinear,
  referenceMultiHead,
  referenceRotary,
  referenceSoftmax,
  splitHeads,
} from './attention.js';
import type { AttentionInputs, AttentionOptions, AttentionResult } from './attention.js';
import { needs } from '../support/needs.js';
import { seededArray } from './random.js';

type Outputs = Record<string, { dims: readonly number[]; data: ArrayLike<number> }>;

function attentionInputs(attention: OnnxAttention): AttentionInputs {
  const { query, key, value } = attention;
  return {
    ...attention,
    query: contiguous(query).data,
    key: contiguous(key).data,
    value: contiguous(value).data,
  };
}

function attentionOptions(attention: OnnxAttention): AttentionOptions {
  const { mask, offset } = attention;
  return {
    scale: attention.scale,
    softcap: attention.softcap,
    keyLengths: attention.keyLengths,
    causalOffset: attention.causal ? offset : undefined,
    window: attention.window,
    windowOffset: offset,
    booleanMask: mask?.kind === 'boolean' ? (...pair) => maskAt(mask, ...pair) !== 0 : undefined,
    floatMask: mask?.kind === 'float' ? (...pair) => maskAt(mask, ...pair) : undefined,
  };
}

function scoresOfMode({ scores, weights }: AttentionResult, mode: OnnxAttention['scoreMode']): Float64Array {
  return [scores.scaled, scores.capped, scores.masked, weights][mode]!;
}

function runAttention(onnxCase: OnnxCase): Outputs {
  const attention = mapOnnxAttention(onnxCase);
  const result = referenceAttention(attentionInputs(attention), attentionOptions(attention));
  return onnxOutputs(attention, {
    output: result.output,
    scores: scoresOfMode(result, attention.scoreMode),
  });
}

function runFlexAttention(onnxCase: OnnxCase): Outputs {
  const attention = mapOnnxAttention(onnxCase);
  const inputs = attentionInputs(attention);
  const { batch, queryHeads, queries, keys } = attention;
  const dims = [batch, queryHeads, queries, keys];
  const modify = (name: string, data: Float64Array): Float64Array => {
    const graph = onnxCase.attributes[name] as OnnxGraph | undefined;
    return graph === undefined ? data : runGraph(graph, { dims, data }).data;
  };
  const scores = modify('score_mod', referenceAttention(inputs, attentionOptions(attention)).scores.scaled);
  const at = (table: Float64Array, b: number, h: number, i: number, j: number): number =>
    table[((b * queryHeads + h) * queries + i) * keys + j]!;
  // A scale of 0 leaves nothing but the bias, which is then the modified score.
  const { weights, output } = referenceAttention(inputs, {
    scale: 0,
    bias: (...pair) => at(scores, ...pair),
  });
  if (onnxCase.attributes['prob_mod'] === undefined) return onnxOutputs(attention, { output });
  const probabilities = modify('prob_mod', weights);
  return onnxOutputs(attention, { output: sumOfValues(inputs, (...pair) => at(probabilities, ...pair)) });
}

/** Values summed with given weights, which need not sum to 1 any more. */
function sumOfValues(
  { value, batch, queryHeads, keyHeads, queries, keys, valueHeadDim }: AttentionInputs,
  weight: (b: number, h: number, i: number, j: number) => number,
): Float64Array {
  return Float64Array.from({ length: batch * queryHeads * queries * valueHeadDim }, (_, index) => {
    const row = Math.floor(index / valueHeadDim);
    const [b, h] = [Math.floor(row / (queryHeads * queries)), Math.floor(row / queries) % queryHeads];
    const keyHead = b * keyHeads + Math.floor((h * keyHeads) / queryHeads);
    let sum = 0;
    for (let j = 0; j < keys; j++) {
      sum +=
        weight(b, h, row % queries, j) * value[(keyHead * keys + j) * valueHeadDim + (index % valueHeadDim)]!;
    }
    return sum;
  });
}

function runRotary(onnxCase: OnnxCase): Outputs {
  const { X, cos_cache: cosines, sin_cache: sines, position_ids: ids } = onnxCase.inputs;
  if (!X || !cosines || !sines) throw new Error('RotaryEmbedding needs X and both caches');
  const [batch = 0, second = 0, third = 0, fourth] = X.dims;
  const heads = fourth === undefined ? numberAttribute(onnxCase, 'num_heads', 0) : second;
  const length = fourth === undefined ? second : third;
  const sizes = { batch, heads, length, headDim: fourth ?? third / heads };
  const pairs = cosines.dims.at(-1)!;
  const [cos, sin, positions] = [numbersOf(cosines), numbersOf(sines), ids && numbersOf(ids)];
  const input = fourth === undefined ? splitHeads(numbersOf(X), sizes) : numbersOf(X);
  const output = referenceRotary(input, sizes, {
    rotaryDim: numberAttribute(onnxCase, 'rotary_embedding_dim', 0),
    interleaved: numberAttribute(onnxCase, 'interleaved', 0) === 1,
    table: (b, token, pair) => {
      const entry = b * length + token;
      const index = (positions ? positions[entry]! : entry) * pairs + pair;
      return { cos: cos[index]!, sin: sin[index]! };
    },
  });
  return { Y: { dims: X.dims, data: fourth === undefined ? mergeHeads(output, sizes) : output } };
}

function runSoftmax(onnxCase: OnnxCase): Outputs {
  const input = Object.values(onnxCase.inputs)[0]!;
  const data = referenceSoftmax(numbersOf(input), input.dims, numberAttribute(onnxCase, 'axis', -1));
  return Object.fromEntries(Object.keys(onnxCase.outputs).map((name) => [name, { dims: input.dims, data }]));
}

const RUNNERS: Readonly<Record<string, (onnxCase: OnnxCase) => Outputs>> = {
  Attention: runAttention,
  FlexAttention: runFlexAttention,
  RotaryEmbedding: runRotary,
  Softmax: runSoftmax,
};

/** The data is rounded to its own type; beyond that, float64 leaves nothing to excuse. */
function referenceTolerance({ dtype }: OnnxTensor): Tolerance {
  return dtype === 'float16' ? toleranceOf(dtype) : { absolute: 3e-6, relative: 0 };
}

needs('ONNX-cases').describe('reference against the ONNX cases', () => {
  const cases = loadOnnxCases();
  it('are there', () => expect(cases).not.toBeNull());
  for (const onnxCase of cases ?? []) {
    const run = RUNNERS[onnxCase.op];
    if (run === undefined) continue;
    it(onnxCase.name, () => {
      const actual = run(onnxCase);
      for (const [name, expected] of Object.entries(onnxCase.outputs)) {
        const output = actual[name];
        if (output === undefined) throw new Error(`the runner gives no ${name}`);
        expect(compare(output, expected, referenceTolerance(expected)).message, name).toBe('');
      }
    });
  }

  it('takes the arguments of a 3D node as strides, without copying', () => {
    const onnxCase = cases!.find(({ name }) => name === 'test_attention_3d_gqa')!;
    const { query } = mapOnnxAttention(onnxCase);
    expect(query.data).toBe(requiredTensor(onnxCase.inputs, 'Q').data);
    expect([query.dims, query.strides]).toEqual([
      [2, 9, 4, 8],
      [288, 8, 72, 1],
    ]);
  });
});

/** One batch row, one head, head size 1: the scores are query * key. */
function single(query: number[], key: number[], value: number[]): AttentionInputs {
  const sizes = { batch: 1, queryHeads: 1, keyHeads: 1, headDim: 1, valueHeadDim: 1 };
  return { query, key, value, queries: query.length, keys: key.length, ...sizes };
}

describe('reference by hand', () => {
  it('weighs two keys by the exponentials of their scores', () => {
    // Scores ln 1 and ln 3 give weights 1/4 and 3/4.
    const result = referenceAttention(single([1], [0, Math.log(3)], [4, 8]));
    expect(Array.from(result.weights)).toEqual([expect.closeTo(0.25, 15), expect.closeTo(0.75, 15)]);
    expect(result.output[0]).toBeCloseTo(7, 14);
    expect(result.logSumExp[0]).toBeCloseTo(Math.log(4), 15);
  });

  it('scales by 1/sqrt(headDim) of the query', () => {
    const inputs = {
      ...single([], [], [5]),
      query: [1, 1, 1, 1],
      key: [2, 2, 2, 2],
      queries: 1,
      keys: 1,
      headDim: 4,
    };
    expect(referenceAttention(inputs).logSumExp[0]).toBe(4);
    expect(referenceAttention(inputs, { scale: -2 }).logSumExp[0]).toBe(-16);
  });

  it('applies scale, softcap, bias and mask in this order', () => {
    const inputs = single([1], [4], [1]);
    const options = { scale: 0.5, softcap: 3, bias: () => 10, floatMask: () => 100 };
    const { scaled, capped, masked } = referenceAttention(inputs, options).scores;
    expect([scaled[0], capped[0]]).toEqual([2, 3 * Math.tanh(2 / 3)]);
    expect(masked[0]).toBeCloseTo(110 + 3 * Math.tanh(2 / 3), 13);
  });

  it('shows a causal query the keys up to its offset position, per batch row', () => {
    const zeros = new Float64Array(6);
    const inputs = {
      ...single([], [], []),
      batch: 2,
      queries: 3,
      keys: 3,
      query: zeros,
      key: zeros,
      value: zeros,
    };
    const { weights } = referenceAttention(inputs, { causalOffset: [0, -1] });
    const third = expect.closeTo(1 / 3, 15) as number;
    const [first, second] = [Array.from(weights.slice(0, 9)), Array.from(weights.slice(9))];
    expect(first).toEqual([1, 0, 0, 0.5, 0.5, 0, third, third, third]);
    expect(second).toEqual([0, 0, 0, 1, 0, 0, 0.5, 0.5, 0]);
  });

  it('counts the keys of a window besides the one at the query', () => {
    const inputs = single([0, 0], [0, 0, 0, 0], [1, 2, 3, 4]);
    const visible = (options: AttentionOptions): number[] =>
      Array.from(referenceAttention(inputs, options).weights, (weight) => Number(weight > 0));
    expect(visible({ window: { left: 1, right: 0 } })).toEqual([1, 0, 0, 0, 1, 1, 0, 0]);
    expect(visible({ window: { left: 1 }, causalOffset: 2 })).toEqual([0, 1, 1, 0, 0, 0, 1, 1]);
    expect(visible({ window: { left: 0, right: 1 }, windowOffset: 1 })).toEqual([0, 1, 1, 0, 0, 0, 1, 1]);
  });

  it('lets every kind of mask remove keys', () => {
    const inputs = single([0], [0, 0, 0, 0], [1, 2, 4, 8]);
    const options: AttentionOptions = {
      keyLengths: [3],
      booleanMask: (_b, _h, _i, j) => j !== 0,
      predicate: (_b, _h, _i, j) => j !== 2,
      floatMask: () => -40000,
    };
    expect(referenceAttention(inputs, options).output[0]).toBe(2);
  });

  it('never reads a removed key', () => {
    const poisoned = (values: number[]): ArrayLike<number> =>
      new Proxy(values, {
        get: (target, property) => {
          if (property === '1') throw new Error('read a removed key');
          return Reflect.get(target, property) as unknown;
        },
      });
    const inputs = { ...single([1], [1, 1], [3, 3]), key: poisoned([1, 1]), value: poisoned([3, 3]) };
    const removals: AttentionOptions[] = [
      { causalOffset: 0 },
      { keyLengths: [1] },
      { window: { right: 0 } },
      { booleanMask: (_b, _h, _i, j) => j === 0 },
      { predicate: (_b, _h, _i, j) => j === 0 },
      { floatMask: (_b, _h, _i, j) => (j === 0 ? 0 : -Infinity) },
      { bias: (_b, _h, _i, j) => (j === 0 ? 0 : -Infinity) },
    ];
    for (const options of removals) expect(referenceAttention(inputs, options).output[0]).toBe(3);
  });

  it('gives zeros and a log-sum-exp of -Infinity for a row without keys', () => {
    const { output, weights, logSumExp } = referenceAttention(single([1], [NaN], [Infinity]), {
      keyLengths: [0],
    });
    expect([output[0], weights[0], logSumExp[0]]).toEqual([0, 0, -Infinity]);
  });

  it('treats a score that ends at -Infinity as a removed key', () => {
    const { output, weights } = referenceAttention(single([1], [-Infinity, 0], [NaN, 5]));
    expect([output[0], ...weights]).toEqual([5, 0, 1]);
  });

  it('keeps a NaN score within its row, and removed keys at weight 0 there', () => {
    const inputs = single([NaN, 1], [1, 1, 1], [1, 2, 3]);
    const { output, weights, logSumExp } = referenceAttention(inputs, { keyLengths: [2] });
    expect(Array.from(output)).toEqual([NaN, 1.5]);
    expect(Array.from(weights)).toEqual([NaN, NaN, 0, 0.5, 0.5, 0]);
    expect(logSumExp[0]).toBeNaN();
  });

  it('holds at huge scores, and makes an infinite one NaN', () => {
    const huge = referenceAttention(single([1e200], [1e100, 1e100], [2, 4]));
    expect([huge.output[0], huge.logSumExp[0]]).toEqual([3, 1e300]);
    expect(referenceAttention(single([1e200], [1e200, 0], [2, 4])).output[0]).toBeNaN();
  });

  it('gives a sink its share of the denominator', () => {
    // exp(0) + exp(0) + exp(ln 2) = 4
    const inputs = single([0], [0, 0], [6, 10]);
    const { output, weights, logSumExp } = referenceAttention(inputs, { sinks: [Math.log(2)] });
    expect([output[0], weights[0], logSumExp[0]]).toEqual([4, 0.25, expect.closeTo(Math.log(4), 15)]);
    const empty = referenceAttention(inputs, { sinks: [0.5], keyLengths: [0] });
    expect([empty.output[0], empty.weights[0], empty.logSumExp[0]]).toEqual([0, 0, 0.5]);
  });

  it('lets neighbouring query heads share a key/value head', () => {
    const inputs = {
      ...single([0, 0, 0, 0], [0, 0], [1, 2]),
      queryHeads: 4,
      keyHeads: 2,
      queries: 1,
      keys: 1,
    };
    expect(Array.from(referenceAttention(inputs).output)).toEqual([1, 1, 2, 2]);
  });

  it('refuses heads and lengths that do not fit', () => {
    expect(() => referenceAttention({ ...single([0], [0], [0]), queryHeads: 3, keyHeads: 2 })).toThrow(
      RangeError,
    );
    expect(() => referenceAttention({ ...single([0], [0], [0]), keys: 2 })).toThrow(
      /key has 1 numbers, expected 2/,
    );
  });

  it('projects with the rows of the weight', () => {
    const linear = { weight: [1, 2, 3, 4, 5, 6], bias: [10, 20] };
    const output = referenceLinear([1, 1, 1, 1, 0, 0], linear, { rows: 2, inFeatures: 3, outFeatures: 2 });
    expect(Array.from(output)).toEqual([16, 35, 11, 24]);
  });

  it('turns half-split and interleaved pairs, and passes the rest through', () => {
    const sizes = { batch: 1, heads: 1, length: 1, headDim: 6 };
    const quarter = { rotaryDim: 4, table: () => ({ cos: 0, sin: 1 }) };
    const input = [1, 2, 3, 4, 5, 6];
    expect(Array.from(referenceRotary(input, sizes, quarter))).toEqual([-3, -4, 1, 2, 5, 6]);
    const interleaved = referenceRotary(input, sizes, { ...quarter, interleaved: true });
    expect(Array.from(interleaved)).toEqual([-2, 1, -4, 3, 5, 6]);
  });

  it('turns pair p by position * base^(-2p/R)', () => {
    const sizes = { batch: 1, heads: 1, length: 2, headDim: 4 };
    const positions = (_batch: number, token: number): number => 3 * token;
    const output = referenceRotary([1, 1, 0, 0, 1, 1, 0, 0], sizes, { base: 100, positions });
    const turned = [Math.cos(3), Math.cos(0.3), Math.sin(3), Math.sin(0.3)];
    expect(Array.from(output)).toEqual([
      1,
      1,
      0,
      0,
      ...turned.map((value) => expect.closeTo(value, 15) as number),
    ]);
  });

  it('runs a layer as its parts', () => {
    const sizes = {
      batch: 2,
      queries: 3,
      keys: 5,
      embedDim: 8,
      keyDim: 6,
      valueDim: 4,
      queryHeads: 4,
      keyHeads: 2,
    };
    const linear = (seed: number, outFeatures: number, inFeatures: number) => ({
      weight: seededArray(seed, outFeatures * inFeatures),
      bias: seededArray(seed + 100, outFeatures),
    });
    const weights = {
      query: linear(1, 8, 8),
      key: linear(2, 4, 6),
      value: linear(3, 4, 4),
      output: linear(4, 8, 8),
    };
    const tokens = { query: seededArray(5, 48), key: seededArray(6, 60), value: seededArray(7, 40) };
    const { output, attention } = referenceMultiHead(tokens, weights, sizes, { causalOffset: 2 });
    expect(output.length).toBe(48);
    expect(attention.weights.length).toBe(2 * 4 * 3 * 5);

    // The last token of the last row, from its head outputs.
    const heads = [0, 1, 2, 3].flatMap((h) =>
      Array.from(attention.output.slice(((4 + h) * 3 + 2) * 2).slice(0, 2)),
    );
    const last = referenceLinear(heads, weights.output, { rows: 1, inFeatures: 8, outFeatures: 8 });
    expect(Array.from(output.slice(-8))).toEqual(Array.from(last));
  });

  it('passes values straight through a layer of identities with one key', () => {
    const identity = { weight: [1, 0, 0, 1] };
    const weights = { query: identity, key: identity, value: identity, output: identity };
    const sizes = { batch: 1, queries: 1, embedDim: 2, queryHeads: 1 };
    expect(Array.from(referenceMultiHead({ query: [3, -7] }, weights, sizes).output)).toEqual([3, -7]);
  });
});
