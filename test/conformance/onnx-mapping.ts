// What an ONNX Attention node means, in neutral terms: attributes, optional inputs and the two layouts
// resolved to arguments that any attention function can be given. It knows no implementation.

import { numberAttribute, numbersOf, requiredTensor } from './onnx-cases.js';
import type { OnnxCase, OnnxTensor } from './onnx-cases.js';

type Numbers = Float32Array | Float64Array;
type Shape4 = readonly [number, number, number, number];

/** A [batch, heads, length, headDim] view of flat numbers; strides count elements. */
export interface StridedTensor {
  data: Numbers;
  dims: Shape4;
  strides: Shape4;
}

/** A mask of rank 4 that broadcasts to [batch, query heads, queries, keys]; its last axis is all keys. */
export interface OnnxMask {
  kind: 'boolean' | 'float';
  /** boolean: 1 attends, 0 removes. float: added, -Infinity removes. */
  data: Uint8Array | Numbers;
  dims: Shape4;
}

export interface OnnxAttention {
  layout: '3d' | '4d';
  query: StridedTensor;
  /** All keys and values: the past in front of those the node adds. */
  key: StridedTensor;
  value: StridedTensor;
  /** The cache before the call and what is appended to it, where the node has a past. */
  past?: { key: StridedTensor; value: StridedTensor; newKey: StridedTensor; newValue: StridedTensor };
  batch: number;
  queryHeads: number;
  keyHeads: number;
  queries: number;
  keys: number;
  headDim: number;
  valueHeadDim: number;
  scale: number;
  /** 0: none */
  softcap: number;
  causal: boolean;
  /** Query i stands at key position i + offset, for causality and the window; per batch row with lengths. */
  offset: number | number[];
  keyLengths?: number[];
  mask?: OnnxMask;
  /** Keys on either side of the own position; an absent side is open. */
  window?: { left?: number; right?: number };
  /** Which scores the fourth output shows. */
  scoreMode: 0 | 1 | 2 | 3;
}

/** The arguments of an ONNX Attention (23 to 25) or FlexAttention case. */
export function mapOnnxAttention(onnxCase: OnnxCase): OnnxAttention {
  const layout = requiredTensor(onnxCase.inputs, 'Q').dims.length === 3 ? '3d' : '4d';
  const query = headView(requiredTensor(onnxCase.inputs, 'Q'), numberAttribute(onnxCase, 'q_num_heads', 0));
  const keyHeadsGiven = numberAttribute(onnxCase, 'kv_num_heads', 0);
  const newKey = headView(requiredTensor(onnxCase.inputs, 'K'), keyHeadsGiven);
  const newValue = headView(requiredTensor(onnxCase.inputs, 'V'), keyHeadsGiven);
  const past = mapPast(onnxCase, newKey, newValue);
  const key = past ? concatenateLength(past.key, newKey) : newKey;
  const value = past ? concatenateLength(past.value, newValue) : newValue;
  const [batch, queryHeads, queries, headDim] = query.dims;
  const keys = key.dims[2];
  const keyLengths = mapKeyLengths(onnxCase, past !== undefined);
  const mask = mapMask(onnxCase, keys);
  const window = mapWindow(onnxCase);
  return {
    layout,
    query,
    key,
    value,
    ...(past && { past }),
    batch,
    queryHeads,
    keyHeads: key.dims[1],
    queries,
    keys,
    headDim,
    valueHeadDim: value.dims[3],
    scale: numberAttribute(onnxCase, 'scale', 1 / Math.sqrt(headDim)),
    softcap: numberAttribute(onnxCase, 'softcap', 0),
    causal: numberAttribute(onnxCase, 'is_causal', 0) === 1,
    offset: keyLengths ? keyLengths.map((length) => length - queries) : (past?.key.dims[2] ?? 0),
    ...(keyLengths && { keyLengths }),
    ...(mask && { mask }),
    ...(window && { window }),
    scoreMode: scoreMode(onnxCase),
  };
}

/** [B,H,L,D] as it is, or [B,L,H*D] with its heads as strides. */
function headView(tensor: OnnxTensor, heads: number): StridedTensor {
  const data = floats(tensor);
  const [batch = 0, second = 0, third = 0, fourth] = tensor.dims;
  if (fourth !== undefined) {
    const strides = [second * third * fourth, third * fourth, fourth, 1] as const;
    return { data, dims: [batch, second, third, fourth], strides };
  }
  if (heads === 0 || third % heads !== 0)
    throw new RangeError(`${third} features do not divide by ${heads} heads`);
  const headDim = third / heads;
  return { data, dims: [batch, heads, second, headDim], strides: [second * third, headDim, third, 1] };
}

function floats({ data, dtype }: OnnxTensor): Numbers {
  if (data instanceof Float32Array || data instanceof Float64Array) return data;
  throw new TypeError(`expected floating-point numbers, got ${dtype}`);
}

function mapPast(onnxCase: OnnxCase, newKey: StridedTensor, newValue: StridedTensor): OnnxAttention['past'] {
  const { past_key: key, past_value: value } = onnxCase.inputs;
  if (key === undefined && value === undefined) return undefined;
  if (key === undefined || value === undefined) throw new Error('a past needs both its keys and its values');
  return { key: headView(key, 0), value: headView(value, 0), newKey, newValue };
}

function mapKeyLengths(onnxCase: OnnxCase, hasPast: boolean): number[] | undefined {
  const lengths = onnxCase.inputs['nonpad_kv_seqlen'];
  if (lengths === undefined) return undefined;
  if (hasPast) throw new Error('nonpad_kv_seqlen and a past exclude each other');
  return Array.from(numbersOf(lengths));
}

function mapWindow(onnxCase: OnnxCase): OnnxAttention['window'] {
  const left = numberAttribute(onnxCase, 'left_window_size', -1);
  const right = numberAttribute(onnxCase, 'right_window_size', -1);
  if (left < 0 && right < 0) return undefined;
  return { ...(left >= 0 && { left }), ...(right >= 0 && { right }) };
}

function scoreMode(onnxCase: OnnxCase): 0 | 1 | 2 | 3 {
  const mode = numberAttribute(onnxCase, 'qk_matmul_output_mode', 0);
  if (mode === 0 || mode === 1 || mode === 2 || mode === 3) return mode;
  throw new RangeError(`qk_matmul_output_mode ${mode} is not 0 to 3`);
}

/** The mask with leading axes of 1 and its last axis filled up with "removed", also where that axis is 1. */
function mapMask(onnxCase: OnnxCase, keys: number): OnnxMask | undefined {
  const mask = onnxCase.inputs['attn_mask'];
  if (mask === undefined) return undefined;
  const given = mask.dims.at(-1) ?? 0;
  if (mask.dims.length > 4 || given > keys) {
    throw new RangeError(`mask [${mask.dims.join()}] does not fit ${keys} keys`);
  }
  const leading = [1, 1, 1, ...mask.dims.slice(0, -1)].slice(-3);
  const dims: Shape4 = [leading[0]!, leading[1]!, leading[2]!, keys];
  const rows = dims[0] * dims[1] * dims[2];
  if (mask.dtype === 'bool') {
    const data = padRows(mask.data as Uint8Array, new Uint8Array(rows * keys), given, keys);
    return { kind: 'boolean', data, dims };
  }
  const padded = new Float64Array(rows * keys).fill(-Infinity);
  return { kind: 'float', data: padRows(numbersOf(mask), padded, given, keys), dims };
}

/** Copies rows of `given` numbers into longer rows. */
function padRows<Data extends Uint8Array | Numbers>(
  from: Data,
  to: Data,
  given: number,
  length: number,
): Data {
  for (let row = 0; row * length < to.length; row++) {
    to.set(from.subarray(row * given, (row + 1) * given), row * length);
  }
  return to;
}

/** The mask's number for one pair, with axes of 1 repeated. */
export function maskAt(
  { data, dims }: OnnxMask,
  batch: number,
  head: number,
  query: number,
  key: number,
): number {
  const [batches, heads, queries, keys] = dims;
  const row = ((batch % batches) * heads + (head % heads)) * queries + (query % queries);
  return data[row * keys + key]!;
}

/** A row-major copy [batch, heads, length, headDim]. */
export function contiguous({ data, dims, strides }: StridedTensor): StridedTensor {
  const [batch, heads, length, headDim] = dims;
  const copy = data instanceof Float32Array ? new Float32Array(count(dims)) : new Float64Array(count(dims));
  let index = 0;
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      for (let l = 0; l < length; l++) {
        const start = b * strides[0] + h * strides[1] + l * strides[2];
        for (let d = 0; d < headDim; d++) copy[index++] = data[start + d * strides[3]]!;
      }
    }
  }
  return { data: copy, dims, strides: [heads * length * headDim, length * headDim, headDim, 1] };
}

function concatenateLength(before: StridedTensor, after: StridedTensor): StridedTensor {
  const [batch, heads, length, headDim] = after.dims;
  const dims: Shape4 = [batch, heads, before.dims[2] + length, headDim];
  const strides: Shape4 = [heads * dims[2] * headDim, dims[2] * headDim, headDim, 1];
  const data =
    after.data instanceof Float32Array ? new Float32Array(count(dims)) : new Float64Array(count(dims));
  const [first, second] = [contiguous(before), contiguous(after)];
  for (let head = 0; head < batch * heads; head++) {
    const start = head * strides[1];
    data.set(first.data.subarray(head * first.strides[1], (head + 1) * first.strides[1]), start);
    data.set(
      second.data.subarray(head * second.strides[1], (head + 1) * second.strides[1]),
      start + first.strides[1],
    );
  }
  return { data, dims, strides };
}

function count(dims: readonly number[]): number {
  return dims.reduce((product, dim) => product * dim, 1);
}

/** What an implementation gives back: row-major output [B,Hq,S,Dv], and scores [B,Hq,S,T] of `scoreMode`. */
export interface AttentionAnswer {
  output: ArrayLike<number>;
  scores?: ArrayLike<number>;
}

/** The node's outputs, by their ONNX names and in the case's layout. */
export function onnxOutputs(
  attention: OnnxAttention,
  answer: AttentionAnswer,
): Record<string, { dims: readonly number[]; data: ArrayLike<number> }> {
  const { batch, queryHeads, queries, keys, key, value } = attention;
  return {
    Y: layOut(attention, answer.output),
    present_key: { dims: key.dims, data: contiguous(key).data },
    present_value: { dims: value.dims, data: contiguous(value).data },
    ...(answer.scores && {
      qk_matmul_output: { dims: [batch, queryHeads, queries, keys], data: answer.scores },
    }),
  };
}

/** [B,H,S,Dv] as it is, or as [B,S,H*Dv]. */
function layOut(
  { layout, batch, queryHeads, queries, valueHeadDim }: OnnxAttention,
  output: ArrayLike<number>,
): { dims: readonly number[]; data: ArrayLike<number> } {
  const dims: Shape4 = [batch, queryHeads, queries, valueHeadDim];
  if (layout === '4d') return { dims, data: output };
  // Reading heads and queries in exchanged order is what lays the heads side by side within a token.
  const strides: Shape4 = [queryHeads * queries * valueHeadDim, valueHeadDim, queries * valueHeadDim, 1];
  const exchanged: Shape4 = [batch, queries, queryHeads, valueHeadDim];
  const { data } = contiguous({ data: Float64Array.from(output), dims: exchanged, strides });
  return { dims: [batch, queries, queryHeads * valueHeadDim], data };
}
