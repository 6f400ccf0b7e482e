// A layer written to a checkpoint under every naming scheme. A new scheme wants a writer here, made after the scheme's own model
// and not after our reader.

import { expect } from 'vitest';
import { findLayer } from '../../src/checkpoints/matching.js';
import type {
  AttentionProjections,
  Projection,
  ProjectionLayout,
} from '../../src/checkpoints/projections.js';
import type { StateDictTensor } from '../../src/checkpoints/state-dict.js';
import { AttentionError } from '../../src/runtime/errors.js';

export type StateDict = Record<string, StateDictTensor>;

export const findProjections = (...given: Parameters<typeof findLayer>): AttentionProjections =>
  findLayer(...given).projections;

type Matrix = readonly (readonly number[])[];

/** One linear map as rows of numbers, so that the writers below share no code with what they test. */
interface Linear {
  readonly weight: Matrix;
  readonly bias: readonly number[];
}

export interface Layer {
  readonly layout: ProjectionLayout;
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly output: Linear;
}

export function layoutOf(changes: Partial<ProjectionLayout> = {}): ProjectionLayout {
  const embedDim = changes.embedDim ?? 6;
  return {
    embedDim,
    numHeads: 4,
    numKeyValueHeads: 2,
    headDim: 3,
    valueHeadDim: 2,
    kdim: embedDim,
    vdim: embedDim,
    bias: true,
    ...changes,
  };
}

/** Numbers that are all different and exact in half precision up to 2048, so that no mix-up can go unseen. */
export function layerOf(layout: ProjectionLayout): Layer {
  let next = 1;
  const linear = (rows: number, columns: number): Linear => ({
    weight: Array.from({ length: rows }, () => Array.from({ length: columns }, () => next++)),
    bias: Array.from({ length: rows }, () => -next++),
  });
  const { embedDim, kdim, vdim, numHeads, numKeyValueHeads, headDim, valueHeadDim, outputDim } = layout;
  return {
    layout,
    query: linear(numHeads * headDim, embedDim),
    key: linear(numKeyValueHeads * headDim, kdim),
    value: linear(numKeyValueHeads * valueHeadDim, vdim),
    output: linear(outputDim ?? embedDim, numHeads * valueHeadDim),
  };
}

function matrix(rows: Matrix): StateDictTensor {
  return { data: Float32Array.from(rows.flat()), shape: [rows.length, rows[0]?.length ?? 0] };
}

export function transposed(rows: Matrix): StateDictTensor {
  const columns = (rows[0] ?? []).map((_, column) => rows.map((row) => row[column] as number));
  return matrix(columns);
}

export function vector(items: readonly number[]): StateDictTensor {
  return { data: Float32Array.from(items), shape: [items.length] };
}

export function linear(name: string, { weight, bias }: Linear, orient = matrix): StateDict {
  return { [`${name}.weight`]: orient(weight), [`${name}.bias`]: vector(bias) };
}

function stack(parts: readonly Linear[]): Linear {
  return { weight: parts.flatMap((part) => part.weight), bias: parts.flatMap((part) => part.bias) };
}

/** [heads, (queries of the group, key, value), channels]: GPT-NeoX, BLOOM, Falcon, InternLM2. */
function interleave({ layout, query, key, value }: Layer): Linear {
  const { numHeads, numKeyValueHeads, headDim, valueHeadDim } = layout;
  const group = numHeads / numKeyValueHeads;
  const head = ({ weight, bias }: Linear, index: number, size: number): Linear => ({
    weight: weight.slice(index * size, (index + 1) * size),
    bias: bias.slice(index * size, (index + 1) * size),
  });
  const parts = Array.from({ length: numKeyValueHeads }, (_, index) => [
    ...Array.from({ length: group }, (__, member) => head(query, index * group + member, headDim)),
    head(key, index, headDim),
    head(value, index, valueHeadDim),
  ]);
  return stack(parts.flat());
}

export function separate(
  query: string,
  key: string,
  value: string,
  output: string,
): (layer: Layer) => StateDict {
  return (layer) => ({
    ...linear(query, layer.query),
    ...linear(key, layer.key),
    ...linear(value, layer.value),
    ...linear(output, layer.output),
  });
}

export function concatenated(inputs: string, output: string, orient = matrix): (layer: Layer) => StateDict {
  return (layer) => ({
    ...linear(inputs, stack([layer.query, layer.key, layer.value]), orient),
    ...linear(output, layer.output, orient),
  });
}

function grouped(inputs: string, output: string): (layer: Layer) => StateDict {
  return (layer) => ({ ...linear(inputs, interleave(layer)), ...linear(output, layer.output) });
}

export function torchPacked(layer: Layer): StateDict {
  const { weight, bias } = stack([layer.query, layer.key, layer.value]);
  return {
    in_proj_weight: matrix(weight),
    in_proj_bias: vector(bias),
    ...linear('out_proj', layer.output),
  };
}

function torchSeparate(layer: Layer): StateDict {
  return {
    q_proj_weight: matrix(layer.query.weight),
    k_proj_weight: matrix(layer.key.weight),
    v_proj_weight: matrix(layer.value.weight),
    in_proj_bias: vector(stack([layer.query, layer.key, layer.value]).bias),
    ...linear('out_proj', layer.output),
  };
}

const unpackedWriters: [scheme: string, write: (layer: Layer) => StateDict][] = [
  ['PyTorch, separate', torchSeparate],
  ['Llama', separate('q_proj', 'k_proj', 'v_proj', 'o_proj')],
  ['OPT, BART, CLIP, Whisper', separate('q_proj', 'k_proj', 'v_proj', 'out_proj')],
  ['Phi', separate('q_proj', 'k_proj', 'v_proj', 'dense')],
  ['BERT', separate('self.query', 'self.key', 'self.value', 'output.dense')],
  ['ViT', separate('attention.query', 'attention.key', 'attention.value', 'output.dense')],
  ['BERT, without self', separate('query', 'key', 'value', 'output.dense')],
  ['ALBERT', separate('query', 'key', 'value', 'dense')],
  ['openai/whisper', separate('query', 'key', 'value', 'out')],
  ['query, key, value and out_proj', separate('query', 'key', 'value', 'out_proj')],
  ['DistilBERT', separate('q_lin', 'k_lin', 'v_lin', 'out_lin')],
  ['T5', separate('q', 'k', 'v', 'o')],
  ['consolidated Llama', separate('wq', 'wk', 'wv', 'wo')],
  ['diffusers', separate('to_q', 'to_k', 'to_v', 'to_out.0')],
];
export const packedWriters: typeof unpackedWriters = [
  ['PyTorch, packed', torchPacked],
  ['GPT-2', concatenated('c_attn', 'c_proj', transposed)],
  ['nanoGPT', concatenated('c_attn', 'c_proj')],
  ['GPT-NeoX, BLOOM, Falcon', grouped('query_key_value', 'dense')],
  ['InternLM2', grouped('wqkv', 'wo')],
  ['timm', concatenated('qkv', 'proj')],
  ['BLIP', concatenated('qkv', 'projection')],
  ['Phi-3', concatenated('qkv_proj', 'o_proj')],
  ['MPT', concatenated('Wqkv', 'out_proj')],
  ['ModernBERT', concatenated('Wqkv', 'Wo')],
];
export const writers = [...unpackedWriters, ...packedWriters];

export function expectedOf(layer: Layer): AttentionProjections {
  const flat = ({ weight, bias }: Linear): Projection => ({
    weight: Float32Array.from(weight.flat()),
    ...(layer.layout.bias ? { bias: Float32Array.from(bias) } : {}),
  });
  return {
    query: flat(layer.query),
    key: flat(layer.key),
    value: flat(layer.value),
    output: flat(layer.output),
  };
}

export function withoutBiases(stateDict: StateDict): StateDict {
  return Object.fromEntries(Object.entries(stateDict).filter(([name]) => !name.endsWith('bias')));
}

export function under(prefix: string, stateDict: StateDict): StateDict {
  return Object.fromEntries(Object.entries(stateDict).map(([name, tensor]) => [prefix + name, tensor]));
}

/** Tensors that must never be touched: reading their values throws. */
export function untouchable(...names: string[]): StateDict {
  const tensor: StateDictTensor = {
    shape: [1],
    get data(): unknown {
      throw new Error('read a tensor that does not belong to the layer');
    },
  };
  return Object.fromEntries(names.map((name) => [name, tensor]));
}

export function errorOf(action: () => unknown): AttentionError {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(AttentionError);
    return error as AttentionError;
  }
  throw new Error('expected an error, none was thrown');
}

export const llama = separate('q_proj', 'k_proj', 'v_proj', 'o_proj');
