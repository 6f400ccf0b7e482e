// Layers of torch.nn among the cases of gradients, as layers of this package: their parameters by PyTorch's names and back.

import type { Runtime, Tensor, TensorLike } from 'wasm-attention';
import { MultiHeadAttention } from 'wasm-attention';
import { TransformerBlock } from 'wasm-attention/model';
import type { TransformerBlockOptions } from 'wasm-attention/model';
import { Trainable } from 'wasm-attention/training';
import type { TrainingForwardOptions } from 'wasm-attention/training';
import type { GradientCase, GradientOperation, GradientTensor } from '../gradient-cases.js';

type Outputs = Record<string, ArrayLike<number>>;

interface AttentionOptions {
  readonly embed_dim: number;
  readonly num_heads: number;
  readonly bias?: boolean;
  readonly kdim?: number;
  readonly vdim?: number;
}

interface BlockOptions {
  readonly d_model: number;
  readonly nhead: number;
  readonly dim_feedforward: number;
}

const floats = ({ data, dims }: GradientTensor): TensorLike => ({ data: data as Float32Array, shape: dims });

/** True is what a boolean mask of torch.nn removes. */
function kept({ data, dims, dtype }: GradientTensor, shape = dims) {
  if (dtype !== 'bool') return { data: data as Float32Array, shape };
  return { data: (data as Uint8Array).map((removed) => 1 - removed), shape };
}

/** attn_mask [queries, keys] or [batch * heads, queries, keys], key_padding_mask [batch, keys]. */
function masksOf(
  runtime: Runtime,
  attention: GradientTensor | undefined,
  padding: GradientTensor | undefined,
  heads: number,
) {
  const place = (mask: ReturnType<typeof kept>) => runtime.tensor(mask.data as Float32Array, mask.shape);
  const masks: Tensor[] = [];
  if (attention) {
    const { dims } = attention;
    masks.push(
      place(kept(attention, dims.length === 3 ? [dims[0]! / heads, heads, ...dims.slice(1)] : dims)),
    );
  }
  if (padding) masks.push(place(kept(padding, [padding.dims[0]!, 1, 1, padding.dims[1]!])));
  return masks.length > 0 ? { mask: masks } : {};
}

const concat = (...parts: readonly Float32Array[]) => Float32Array.from(parts.flatMap((part) => [...part]));

/** A third of the rows of in_proj. */
function third({ data, dims }: GradientTensor, i: number): TensorLike {
  const [rows, ...rest] = [dims[0]! / 3, ...dims.slice(1)];
  const size = data.length / 3;
  return { data: (data as Float32Array).subarray(i * size, (i + 1) * size), shape: [rows, ...rest] };
}

function attention(runtime: Runtime, { options, inputs, upstream }: GradientCase): Outputs {
  const {
    embed_dim: embedDim,
    num_heads: numHeads,
    bias,
    kdim,
    vdim,
  } = options as unknown as AttentionOptions;
  const { query, key, value, attn_mask, key_padding_mask, ...parameters } = inputs as Record<
    string,
    GradientTensor
  >;
  const layer = new MultiHeadAttention(runtime, { embedDim, numHeads, bias, kdim, vdim });
  layer.load(Object.fromEntries(Object.entries(parameters).map(([name, tensor]) => [name, floats(tensor)])));
  const learner = new Trainable(layer);
  const given: TrainingForwardOptions = {
    ...(key && { context: floats(key) }),
    ...(value && { valueContext: floats(value) }),
    ...masksOf(runtime, attn_mask, key_padding_mask, numHeads),
  };
  const { weights } = layer.forward(floats(query!), { ...given, returnWeights: true });
  const { output, record } = learner.forward(floats(query!), given);
  const back = learner.backward(record, floats(upstream['dout']!));
  const of = (name: string) => learner.gradient(name).data;
  const all = (kind: string) => concat(of(`q_proj.${kind}`), of(`k_proj.${kind}`), of(`v_proj.${kind}`));
  return {
    out: output.toFloat32Array(),
    weights: weights.toFloat32Array(),
    dquery: back.x.toFloat32Array(),
    ...(key && { dkey: back.context.toFloat32Array() }),
    ...(value && { dvalue: back.valueContext.toFloat32Array() }),
    din_proj_weight: all('weight'),
    dq_proj_weight: of('q_proj.weight'),
    dk_proj_weight: of('k_proj.weight'),
    dv_proj_weight: of('v_proj.weight'),
    'dout_proj.weight': of('out_proj.weight'),
    ...(bias !== false && { din_proj_bias: all('bias'), 'dout_proj.bias': of('out_proj.bias') }),
  };
}

/** Modules of torch.nn by what they are here. */
const MODULES = { self_attn: 'attention', multihead_attn: 'crossAttention' } as const;

function block(
  runtime: Runtime,
  { options, inputs, upstream }: GradientCase,
  [source, memory]: readonly [string, string?],
): Outputs {
  const {
    d_model: embedDim,
    nhead: numHeads,
    dim_feedforward: feedForwardDim,
  } = options as unknown as BlockOptions;
  const norms = memory
    ? { norm1: 'attention.norm', norm2: 'crossAttention.norm', norm3: 'feedForward.norm' }
    : { norm1: 'attention.norm', norm2: 'feedForward.norm' };
  const simple = { ...norms, linear1: 'feedForward.up', linear2: 'feedForward.down' };
  const layer = new TransformerBlock(runtime, {
    embedDim,
    numHeads,
    feedForwardDim,
    activation: (options['activation'] ?? 'relu') as TransformerBlockOptions['activation'],
    normPlacement: options['norm_first'] ? 'before' : 'after',
    epsilon: (options['layer_norm_eps'] ?? 1e-5) as number,
    bias: (options['bias'] ?? true) as boolean,
    causal: (options['causal'] ?? false) as boolean,
    crossAttention: memory !== undefined,
  });
  const parameters: Record<string, TensorLike> = {};
  /** By which names gradients are asked for. */
  const gradients: Record<string, readonly string[]> = {};
  for (const [name, tensor] of Object.entries(inputs)) {
    const [, module = '', rest = ''] = /^(\w+)\.(.*)$/.exec(name) ?? [];
    const attends = MODULES[module as keyof typeof MODULES];
    const own = simple[module as keyof typeof simple];
    if (attends && rest.startsWith('in_proj_')) {
      const kind = rest.slice('in_proj_'.length);
      const three = ['query', 'key', 'value'].map((which) => `${attends}.${which}.${kind}`);
      three.forEach((which, i) => (parameters[which] = third(tensor, i)));
      gradients[`d${name}`] = three;
    } else if (attends || own) {
      const to = attends ? `${attends}.output.${rest.slice('out_proj.'.length)}` : `${own}.${rest}`;
      parameters[to] = floats(tensor);
      gradients[`d${name}`] = [to];
    }
  }
  layer.load(parameters);
  const learner = new Trainable(layer);
  const { src_mask, tgt_mask, src_key_padding_mask, tgt_key_padding_mask } = inputs as Record<
    string,
    GradientTensor
  >;
  const { output, record } = learner.forward(floats(inputs[source]!), {
    ...(memory && { context: floats(inputs[memory]!) }),
    ...masksOf(runtime, src_mask ?? tgt_mask, src_key_padding_mask ?? tgt_key_padding_mask, numHeads),
  });
  const back = learner.backward(record, floats(upstream['dout']!));
  return {
    out: output.toFloat32Array(),
    [`d${source}`]: back.x.toFloat32Array(),
    ...(memory && { [`d${memory}`]: back.context.toFloat32Array() }),
    ...Object.fromEntries(
      Object.entries(gradients).map(([name, parts]) => [
        name,
        concat(...parts.map((part) => learner.gradient(part).data)),
      ]),
    ),
  };
}

export const operations: Record<string, GradientOperation> = {
  MultiheadAttention: attention,
  TransformerEncoderLayer: (runtime, given) => block(runtime, given, ['src']),
  TransformerDecoderLayer: (runtime, given) => block(runtime, given, ['tgt', 'memory']),
};
