// Attention and what is made of it.

import { mergeAttention, scaledDotProductAttention } from 'wasm-attention';
import type { Runtime, ScaledDotProductAttentionOptions, Tensor } from 'wasm-attention';
import { mergeAttentionBackward, scaledDotProductAttentionBackward } from 'wasm-attention/training';
import type { AttentionInputName } from 'wasm-attention/training';
import type { GradientCase, GradientOperation, GradientTensor } from '../gradient-cases.js';

const tensorOf = (runtime: Runtime, { data, dims, dtype }: GradientTensor): Tensor =>
  dtype === 'bool' ? runtime.tensor(data as Uint8Array, dims) : runtime.tensor(data as Float32Array, dims);

/** Names of the inputs in the cases, and of what they are here. */
const names: Record<string, AttentionInputName> = {
  q: 'query',
  k: 'key',
  v: 'value',
  mask: 'mask',
  bias: 'bias',
  alibi: 'alibi',
  sinks: 'sinks',
  table: 'relativePositionBias',
};

function attention(runtime: Runtime, given: GradientCase): Record<string, ArrayLike<number>> {
  const { bidirectional, numBuckets, maxDistance, ...rest } = given.options;
  const { q, k, v, mask, bias, alibi, sinks, table } = given.inputs as Record<string, GradientTensor>;
  const options: Record<string, unknown> = { ...rest, returnLogSumExp: true, returnRecord: true };
  if (mask) options.mask = tensorOf(runtime, mask);
  if (bias) options.bias = tensorOf(runtime, bias);
  if (alibi) options.alibi = alibi.data;
  if (sinks) options.sinks = sinks.data;
  if (table) {
    options.relativePositionBias = { table: table.data, buckets: numBuckets, maxDistance, bidirectional };
  }
  const { output, logSumExp, record } = scaledDotProductAttention(
    tensorOf(runtime, q!),
    tensorOf(runtime, k!),
    tensorOf(runtime, v!),
    options as ScaledDotProductAttentionOptions<undefined, true, undefined, true>,
  );
  const wanted = Object.keys(given.outputs).flatMap((name) => names[name.slice(1)] ?? []);
  const { dout, dlse } = given.upstream;
  const gradients = scaledDotProductAttentionBackward(
    record,
    { output: dout!, logSumExp: dlse },
    { gradients: wanted },
  );
  return {
    out: output.toFloat32Array(),
    lse: logSumExp.toFloat32Array(),
    ...Object.fromEntries(
      Object.entries(names).flatMap(([short, name]) => {
        const gradient = gradients[name];
        return gradient ? [[`d${short}`, gradient.toFloat32Array()]] : [];
      }),
    ),
  };
}

function merge(runtime: Runtime, { inputs, upstream }: GradientCase): Record<string, ArrayLike<number>> {
  const parts = [1, 2].map((part) => ({
    output: tensorOf(runtime, inputs[`out${part}`]!),
    logSumExp: tensorOf(runtime, inputs[`lse${part}`]!),
  }));
  const merged = mergeAttention(parts);
  const gradients = mergeAttentionBackward(parts, merged, {
    output: upstream.dout!,
    logSumExp: upstream.dlse,
  });
  return {
    out: merged.output.toFloat32Array(),
    lse: merged.logSumExp.toFloat32Array(),
    dout1: gradients.parts[0]!.output.toFloat32Array(),
    dlse1: gradients.parts[0]!.logSumExp.toFloat32Array(),
    dout2: gradients.parts[1]!.output.toFloat32Array(),
    dlse2: gradients.parts[1]!.logSumExp.toFloat32Array(),
  };
}

export const operations: Record<string, GradientOperation> = {
  attention,
  attentionRelativePositionBias: attention,
  mergeAttention: merge,
};
