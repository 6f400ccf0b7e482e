// ONNX Attention (opsets 23 to 25) on this package: what each input and attribute becomes. README.md has it as a table.
// A whole adapter in one file, to be copied; plain tensors { data, dims } go in and come out.

import { attentionWeights, scaledDotProductAttention } from 'wasm-attention';

/** @typedef {{ data: ArrayLike<number>, dims: readonly number[] }} OnnxTensor */
/** @typedef {{ data: ArrayLike<number | bigint>, dims: readonly number[], type?: string }} OnnxMask */

/** What qk_matmul_output_mode 0 to 3 shows. */
const STAGES = ['scaled', 'capped', 'masked', 'weights'];

/** The largest finite float32. */
const LARGEST = (2 - 2 ** -23) * 2 ** 127;

/**
 * @param {import('wasm-attention').Runtime} runtime
 * @param {{ Q: OnnxTensor, K: OnnxTensor, V: OnnxTensor, attn_mask?: OnnxMask, past_key?: OnnxTensor,
 *   past_value?: OnnxTensor, nonpad_kv_seqlen?: { data: ArrayLike<number | bigint> } }} inputs a mask of
 *   bytes is boolean, unless its `type` says otherwise; half floats are given as numbers, not as their bits
 * @param {{ is_causal?: number, q_num_heads?: number, kv_num_heads?: number, scale?: number, softcap?: number,
 *   qk_matmul_output_mode?: number, left_window_size?: number, right_window_size?: number }} attributes
 * @param {{ scores?: boolean }} [wanted] whether the fourth output is asked for
 * @returns {{ Y: OnnxTensor, present_key: OnnxTensor, present_value: OnnxTensor, qk_matmul_output?: OnnxTensor }}
 */
export function onnxAttention(runtime, inputs, attributes, wanted = {}) {
  /** @type {{ dispose(): void }[]} */
  const made = [];
  /** A new tensor that lives until the end of the call. */
  const tensor = (data, dims) => {
    const created = runtime.tensor(data, [...dims]);
    made.push(created);
    return created;
  };
  try {
    const query = heads(tensor, inputs.Q, attributes.q_num_heads);
    const key = withPast(runtime, tensor, inputs.past_key, heads(tensor, inputs.K, attributes.kv_num_heads));
    const value = withPast(
      runtime,
      tensor,
      inputs.past_value,
      heads(tensor, inputs.V, attributes.kv_num_heads),
    );
    const options = readOptions(tensor, inputs, attributes, query.shape[2], key.shape[2]);
    const result = scaledDotProductAttention(query, key, value, options);
    made.push(result);
    const outputs = {
      Y: layOut(result.output, inputs.Q.dims),
      present_key: { data: key.toFloat32Array(), dims: key.shape },
      present_value: { data: value.toFloat32Array(), dims: value.shape },
    };
    if (!wanted.scores) return outputs;
    const mode = attributes.qk_matmul_output_mode ?? 0;
    const stage = STAGES[mode];
    if (stage === undefined) throw new RangeError(`qk_matmul_output_mode: expected 0 to 3, got ${mode}`);
    const scores = attentionWeights(query, key, { ...options, stage });
    made.push(scores);
    return { ...outputs, qk_matmul_output: { data: scores.toFloat32Array(), dims: scores.shape } };
  } finally {
    for (const created of made) created.dispose();
  }
}

/** [batch, heads, length, dim]; of [batch, length, heads * dim] a view, without a copy. */
function heads(tensor, { data, dims }, count) {
  const whole = tensor(toFloat32(data), dims);
  if (dims.length === 4) return whole;
  const [batch, length, width] = dims;
  return whole.reshape([batch, length, count, width / count]).transpose(1, 2);
}

/** Past and new keys (or values), one after the other. */
function withPast(runtime, tensor, past, added) {
  if (!past) return added;
  const [batch, heads, length, dim] = added.shape;
  const before = past.dims[2];
  const all = tensor(new Float32Array(batch * heads * (before + length) * dim), [
    batch,
    heads,
    before + length,
    dim,
  ]);
  all.slice(2, 0, before).set(past.data);
  all.slice(2, before, before + length).set(added.toFloat32Array());
  return all;
}

function readOptions(tensor, inputs, attributes, queries, keys) {
  const lengths = inputs.nonpad_kv_seqlen && Array.from(inputs.nonpad_kv_seqlen.data, Number);
  const { left_window_size: left = -1, right_window_size: right = -1, softcap = 0 } = attributes;
  const past = inputs.past_key?.dims[2] ?? 0;
  return {
    ...(attributes.scale !== undefined && { scale: attributes.scale }),
    ...(softcap !== 0 && { softcap }),
    causal: attributes.is_causal === 1,
    // Where the queries stand: after the past, at the end of the keys that are no padding, else at the first key.
    queryOffset: lengths ? lengths.map((length) => length - queries) : past,
    ...((left >= 0 || right >= 0) && {
      window: { left: left < 0 ? undefined : left, right: right < 0 ? undefined : right },
    }),
    ...(lengths && { keyLengths: lengths }),
    ...(inputs.attn_mask && { mask: padMask(tensor, inputs.attn_mask, keys) }),
  };
}

/** The mask with a last axis of all keys: those it does not speak of are removed. */
function padMask(tensor, { data, dims, type }, keys) {
  const given = dims.at(-1) ?? 0;
  const boolean = type === undefined ? data instanceof Uint8Array : type === 'bool';
  const rows =
    given === 0 ? dims.slice(0, -1).reduce((size, length) => size * length, 1) : data.length / given;
  const padded = boolean ? new Uint8Array(rows * keys) : new Float32Array(rows * keys).fill(-Infinity);
  for (let row = 0; row < rows; row++) {
    for (let j = 0; j < given; j++) {
      const value = Number(data[row * given + j]);
      padded[row * keys + j] = boolean ? Number(value !== 0) : finiteStaysFinite(value);
    }
  }
  return tensor(padded, [...dims.slice(0, -1), keys]);
}

/** A float64 beyond float32 would become infinite, and remove; only -Infinity itself may. */
function finiteStaysFinite(value) {
  return Number.isFinite(value) ? Math.min(Math.max(value, -LARGEST), LARGEST) : value;
}

/** Y has the layout of Q. */
function layOut(output, dims) {
  if (dims.length === 4) return { data: output.toFloat32Array(), dims: output.shape };
  const [batch, count, length, dim] = output.shape;
  return { data: output.transpose(1, 2).toFloat32Array(), dims: [batch, length, count * dim] };
}

function toFloat32(data) {
  return data instanceof Float32Array ? data : Float32Array.from(data, Number);
}
