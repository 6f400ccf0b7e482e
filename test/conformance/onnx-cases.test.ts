// The tools that judge others must not be blind: decoding, comparing, mapping and graphs on known numbers.

import { afterEach, describe, expect, it, vi } from 'vitest';
import { compare, decodeNumbers, halfToNumber, loadOnnxCases } from './onnx-cases.js';
import type { OnnxCase, OnnxTensor } from './onnx-cases.js';
import { runGraph } from './onnx-graph.js';
import { mapOnnxAttention, maskAt } from './onnx-mapping.js';

afterEach(() => vi.unstubAllEnvs());

function float32(
  dims: number[],
  data: number[] = new Array<number>(dims.reduce((a, b) => a * b)).fill(0),
): OnnxTensor {
  return { dtype: 'float32', dims, data: Float32Array.from(data) };
}

function attentionCase(inputs: OnnxCase['inputs'], attributes: OnnxCase['attributes'] = {}): OnnxCase {
  const sizes = { Q: float32([1, 1, 2, 4]), K: float32([1, 1, 3, 4]), V: float32([1, 1, 3, 4]) };
  const node = { name: 'made here', domain: '', op: 'Attention', opset: 25, outputs: {}, features: [] };
  return { ...node, attributes, inputs: { ...sizes, ...inputs } };
}

describe('decoding', () => {
  it('reads halves exactly', () => {
    const halves = [0x3c00, 0xc000, 0x0001, 0x03ff, 0x0400, 0x7bff, 0x7c00, 0xfc00, 0x3555];
    const values = [1, -2, 2 ** -24, 1023 * 2 ** -24, 2 ** -14, 65504, Infinity, -Infinity, 0.333251953125];
    expect(halves.map(halfToNumber)).toEqual(values);
    expect(halfToNumber(0x7e00)).toBeNaN();
    expect(halfToNumber(0x8000)).toBe(-0);
  });

  it('reads little-endian integers', () => {
    expect(decodeNumbers('int64', Uint8Array.of(254, 255, 255, 255, 255, 255, 255, 255))).toEqual(
      BigInt64Array.of(-2n),
    );
  });

  it('does not skip silently when a named file is missing', () => {
    vi.stubEnv('WASM_ATTENTION_CONFORMANCE', 'no-such-file.json');
    expect(() => loadOnnxCases()).toThrow(/no-such-file/);
  });
});

describe('comparing', () => {
  const expected = float32([3], [1, 100, -Infinity]);

  it('accepts what lies within the tolerance and says the largest error', () => {
    const { equal, maximumError } = compare({ dims: [3], data: [1.00001, 100.005, -Infinity] }, expected);
    expect(equal).toBe(true);
    expect(maximumError).toBeCloseTo(0.005, 10);
  });

  it.each([
    ['a number too far', [1.001, 100, -Infinity], 'element 0 is 1.001, expected 1'],
    ['the wrong infinity', [1, 100, Infinity], 'element 2 is Infinity, expected -Infinity'],
    ['a large number for an infinity', [1, 100, -1e38], 'element 2 is -1e+38, expected -Infinity'],
    ['a NaN', [1, NaN, -Infinity], 'element 1 is NaN, expected 100'],
    ['a missing element', [1, 100], 'shape [3] of 2, expected [3]'],
  ])('refuses %s', (_what, data, message) => {
    expect(compare({ dims: [3], data }, expected)).toMatchObject({ equal: false, message });
  });

  it('refuses another shape', () => {
    expect(compare({ dims: [1, 3], data: expected.data }, expected).equal).toBe(false);
  });
});

describe('mapping an Attention node', () => {
  it('fills a short mask up with removed keys, also one of a single key', () => {
    const { mask } = mapOnnxAttention(attentionCase({ attn_mask: float32([2, 1], [5, 6]) }));
    expect(mask).toMatchObject({ kind: 'float', dims: [1, 1, 2, 3] });
    expect([0, 1, 2].map((key) => maskAt(mask!, 0, 0, 1, key))).toEqual([6, -Infinity, -Infinity]);
    const attends: OnnxTensor = { dtype: 'bool', dims: [2], data: Uint8Array.of(1, 1) };
    expect(mapOnnxAttention(attentionCase({ attn_mask: attends })).mask).toMatchObject({
      kind: 'boolean',
      data: Uint8Array.of(1, 1, 0),
      dims: [1, 1, 1, 3],
    });
  });

  it('places queries behind the past, or at the end of the given lengths, and at 0 otherwise', () => {
    const past = { past_key: float32([1, 1, 7, 4]), past_value: float32([1, 1, 7, 4]) };
    const lengths: OnnxTensor = { dtype: 'int64', dims: [1], data: BigInt64Array.of(1n) };
    expect(mapOnnxAttention(attentionCase(past))).toMatchObject({ offset: 7, keys: 10 });
    expect(mapOnnxAttention(attentionCase({ nonpad_kv_seqlen: lengths })).offset).toEqual([-1]);
    expect(mapOnnxAttention(attentionCase({})).offset).toBe(0);
  });

  it('keeps a window of 0 apart from an open one', () => {
    const windowOf = (left: number, right: number) =>
      mapOnnxAttention(attentionCase({}, { left_window_size: left, right_window_size: right })).window;
    expect(windowOf(0, -1)).toEqual({ left: 0 });
    expect(windowOf(-1, 3)).toEqual({ right: 3 });
    expect(windowOf(-1, -1)).toBeUndefined();
  });
});

describe('running a graph', () => {
  it('builds a causal mask from shapes and ranges', () => {
    const graph = [
      'shape = Shape(scores)',
      'queries = Gather(shape, two)',
      'keys = Gather(shape, three)',
      'row = Range(zero, queries, one)',
      'rows = Unsqueeze(row, one)',
      'columns = Range(zero, keys, one)',
      'visible = GreaterOrEqual(rows, columns)',
      'result = Where(visible, scores, low)',
    ];
    const integer = (value: number): string => `0${value}00000000000000`;
    const constants = {
      zero: integer(0),
      one: integer(1),
      two: integer(2),
      three: integer(3),
      low: '000080ff',
    };
    const scores = { dims: [1, 1, 2, 3], data: Float64Array.of(1, 2, 3, 4, 5, 6) };
    const result = runGraph({ graph, inputs: ['scores'], outputs: ['result'], constants }, scores);
    expect(result.dims).toEqual([1, 1, 2, 3]);
    expect(Array.from(result.data)).toEqual([1, -Infinity, -Infinity, 4, 5, -Infinity]);
  });

  it('names an operator it does not know', () => {
    const graph = { graph: ['y = Erf(x)'], inputs: ['x'], outputs: ['y'] };
    expect(() => runGraph(graph, { dims: [], data: Float64Array.of(1) })).toThrow(/Erf/);
  });
});
