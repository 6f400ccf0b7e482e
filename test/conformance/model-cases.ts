// Small checkpoints of published families with the outputs that transformers computes from them: where they lie, their tensors as
// numbers, and by which name the package has an output. Nothing of them is copied into this repository. Touch: `OUTPUTS`, for what a
// folder's expected.json may hold.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Tensor } from 'wasm-attention';
import { attentionWeights } from 'wasm-attention';
import type { Model } from 'wasm-attention/model';
import { modelsFolder, requirements } from '../support/requirements.mjs';

/** Row-major numbers. */
export interface Numbers {
  readonly data: Float32Array | Int32Array;
  readonly dims: readonly number[];
}

export type Inputs = Readonly<Record<string, Numbers>>;

export interface ModelCase {
  readonly name: string;
  readonly inputs: Inputs;
  readonly outputs: Readonly<Record<string, Numbers>>;
  /** Largest error of a float32 run, by the name of the output. */
  readonly hints: Readonly<Record<string, number>>;
}

/** What follows a prompt, greedily, and the logits of each step, [steps, vocabulary]. */
export interface GenerationCase {
  readonly inputs: Inputs;
  readonly tokens: readonly number[];
  readonly logits: Numbers;
  readonly hint: number;
}

/** Losses before and after steps of AdamW on one batch, and the norms of the first gradient by names of tensors. */
export interface TrainingCase {
  readonly inputs: Inputs;
  readonly losses: readonly number[];
  readonly norms: Readonly<Record<string, number>>;
}

export interface ModelFolder {
  readonly name: string;
  /** The class that computed the outputs. */
  readonly class: string;
  /** The forms of the config that are there, by their files' names. */
  readonly configs: Readonly<Record<string, unknown>>;
  /** As `loadModel` takes them. */
  readonly weights: never;
  readonly modules: readonly never[] | undefined;
  readonly cases: readonly ModelCase[];
  readonly generation: readonly GenerationCase[];
  readonly training: TrainingCase | undefined;
}

interface Stored {
  readonly dtype: 'float32' | 'int32';
  readonly dims: number[];
  readonly b64: string;
}

interface StoredExpectations {
  class: string;
  cases: {
    name: string;
    inputs: Record<string, Stored>;
    outputs: Record<string, Stored>;
    tolerance_hint: Record<string, number>;
  }[];
  training?: { inputs: Record<string, Stored>; losses: number[]; gradient_norms: Record<string, number> };
  generation?: { inputs: Record<string, Stored>; tokens: number[]; logits: Stored; tolerance_hint: number }[];
}

/** Names of the folders; none where the project stands without them. A folder that WASM_ATTENTION_MODELS names must exist. */
export function modelNames(): string[] {
  if (!requirements['model-checkpoints']!.isMet()) return [];
  const folder = resolve(modelsFolder());
  return readdirSync(folder).filter((name) => existsSync(join(folder, name, 'expected.json')));
}

export function readModelFolder(name: string): ModelFolder {
  const folder = join(resolve(modelsFolder()), name);
  const json = (file: string): unknown => JSON.parse(readFileSync(join(folder, file), 'utf8'));
  const has = (file: string) => existsSync(join(folder, file));
  const expected = json('expected.json') as StoredExpectations;
  const configs = Object.fromEntries(
    ['config.json', 'config.v5.json'].filter(has).map((file) => [file, json(file)]),
  );
  const cases = expected.cases.map((each) => ({
    name: each.name,
    inputs: decodeAll(each.inputs),
    outputs: decodeAll(each.outputs),
    hints: each.tolerance_hint,
  }));
  const { training } = expected;
  return {
    name,
    class: expected.class,
    configs,
    weights: weightsIn(folder) as never,
    modules: (has('modules.json')
      ? modulesIn(folder)
      : cases[0]!.outputs['sentence_embedding'] && MEAN) as never,
    cases,
    generation: (expected.generation ?? []).map(({ inputs, tokens, logits, tolerance_hint: hint }) => ({
      ...{ inputs: decodeAll(inputs), tokens, logits: decode(logits), hint },
    })),
    training: training && {
      inputs: decodeAll(training.inputs),
      losses: training.losses,
      norms: training.gradient_norms,
    },
  };
}

/** Where there are no modules, an embedding of a sentence is the masked mean, normalised. */
const MEAN = [
  { type: 'sentence_transformers.models.Pooling', config: { pooling_mode_mean_tokens: true } },
  { type: 'sentence_transformers.models.Normalize' },
];

function modulesIn(folder: string): unknown[] {
  const modules = JSON.parse(readFileSync(join(folder, 'modules.json'), 'utf8')) as { path: string }[];
  return modules.map((module) => {
    const file = join(folder, module.path, 'config.json');
    return {
      ...module,
      ...(module.path && existsSync(file) && { config: JSON.parse(readFileSync(file, 'utf8')) as unknown }),
    };
  });
}

/** One file, or shards with their index. */
function weightsIn(folder: string): unknown {
  const index = join(folder, 'model.safetensors.index.json');
  if (!existsSync(index)) return readFileSync(join(folder, 'model.safetensors'));
  const parsed = JSON.parse(readFileSync(index, 'utf8')) as { weight_map: Record<string, string> };
  const names = [...new Set(Object.values(parsed.weight_map))];
  return {
    index: parsed,
    files: Object.fromEntries(names.map((name) => [name, readFileSync(join(folder, name))])),
  };
}

const decodeAll = (stored: Record<string, Stored>): Record<string, Numbers> =>
  Object.fromEntries(Object.entries(stored).map(([name, tensor]) => [name, decode(tensor)]));

function decode({ dtype, dims, b64 }: Stored): Numbers {
  const { buffer } = Uint8Array.from(Buffer.from(b64, 'base64'));
  return { dims, data: dtype === 'float32' ? new Float32Array(buffer) : new Int32Array(buffer) };
}

export type ModelOutput = ReturnType<Model['forward']>;

/** An output of the model as numbers. */
type Reader = (output: ModelOutput & Record<string, unknown>, layer: number) => Numbers | undefined;

const plain = (tensor: Tensor | undefined): Numbers | undefined =>
  tensor && { data: tensor.toFloat32Array(), dims: tensor.shape };

/** What follows the last axis of the logits of spans: 0 where they begin, 1 where they end. */
const column =
  (which: number): Reader =>
  ({ logits }) => {
    const all = plain(logits);
    return all && { data: all.data.filter((_, i) => i % 2 === which), dims: all.dims.slice(0, -1) };
  };

type Path = (
  output: never,
) => Partial<Pick<ModelOutput, 'lastHiddenState' | 'hiddenStates' | 'attentions' | 'records'>> | undefined;

function stackReaders(prefix: string, stack: Path): [string, Reader][] {
  return [
    [`${prefix}attentions`, (output, i) => plain(stack(output as never)?.attentions?.[i])],
    [`${prefix}hidden_states`, (output, i) => plain(stack(output as never)?.hiddenStates?.[i])],
    [`${prefix}last_hidden_state`, (output) => plain(stack(output as never)?.lastHiddenState)],
  ];
}

const main = (output: ModelOutput) => output;

/** How the outputs of transformers are called here. */
const OUTPUTS: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ...stackReaders('', main),
  ...stackReaders('encoder_', ({ encoder }: ModelOutput) => encoder),
  ...stackReaders('decoder_', main),
  ...stackReaders('text_', ({ text }: ModelOutput) => text),
  ...stackReaders('vision_', ({ vision }: ModelOutput) => vision),
  ['cross_attentions', ({ crossAttentions }, i) => plain(crossAttentions?.[i])],
  ['logits', ({ logits }) => plain(logits)],
  ['start_logits', column(0)],
  ['end_logits', column(1)],
  ['pooler_output', ({ poolerOutput }) => plain(poolerOutput)],
  ['prediction_logits', ({ predictionLogits }) => plain(predictionLogits)],
  ['seq_relationship_logits', ({ seqRelationshipLogits }) => plain(seqRelationshipLogits)],
  ['sop_logits', ({ seqRelationshipLogits }) => plain(seqRelationshipLogits)],
  ['cls_logits', ({ clsLogits }) => plain(clsLogits)],
  ['distillation_logits', ({ distillationLogits }) => plain(distillationLogits)],
  ['sentence_embedding', ({ sentenceEmbedding }) => plain(sentenceEmbedding)],
  ['text_features', ({ text, features }) => plain(text?.features ?? (features as Tensor))],
  ['vision_features', ({ vision, features }) => plain(vision?.features ?? (features as Tensor))],
  ['image_features', ({ vision, features }) => plain(vision?.features ?? (features as Tensor))],
  // A tower alone calls so what it projected, not normalised.
  ['text_embeds', ({ text, features }) => plain(text?.embeddings ?? (features as Tensor))],
  ['image_embeds', ({ vision, features }) => plain(vision?.embeddings ?? (features as Tensor))],
  ['logits_per_image', ({ logitsPerImage }) => plain(logitsPerImage)],
  ['logits_per_text', ({ logitsPerText }) => plain(logitsPerText)],
]);

/** The output of a name such as `attentions.1`. Names that nobody knows throw. */
export function readOutput(output: ModelOutput, key: string): Numbers | undefined {
  const [name = '', layer] = key.split('.');
  const reader = OUTPUTS.get(name);
  if (!reader) throw new Error(`expected.json has an output ${key}, of which the test knows nothing`);
  return reader(output as never, Number(layer ?? 0));
}

/** Weights of an attention from the record of the call; undefined of what is no attention. */
export function weightsOfRecord(output: ModelOutput, key: string): Numbers | undefined {
  const [name = '', layer] = key.split('.');
  const records =
    name === 'cross_attentions'
      ? output.crossRecords
      : {
          attentions: output,
          decoder_attentions: output,
          encoder_attentions: output.encoder,
          text_attentions: output.text,
          vision_attentions: output.vision,
        }[name]?.records;
  const record = records?.[Number(layer)];
  if (!record) return undefined;
  const weights = attentionWeights(record);
  const numbers = plain(weights);
  weights.dispose();
  return numbers;
}

/** Which elements of an output count: rows of real tokens. */
export function counting(
  key: string,
  { dims }: Pick<Numbers, 'dims'>,
  inputs: Inputs,
): (element: number) => boolean {
  const decodes = 'decoder_input_ids' in inputs;
  const ofDecoder = /^(decoder|cross)/.test(key) || (decodes && !key.startsWith('encoder'));
  const mask = key.startsWith('vision')
    ? undefined
    : inputs[ofDecoder ? 'decoder_attention_mask' : 'attention_mask'];
  const [batch, length] = mask?.dims ?? [];
  if (!mask || dims[0] !== batch) return () => true;
  const width = dims.at(-1)!;
  if (key.includes('attentions')) {
    const [, heads, queries] = dims as [number, number, number];
    return (i) => {
      const row = Math.floor(i / width);
      return mask.data[Math.floor(row / (queries * heads)) * length! + (row % queries)] === 1;
    };
  }
  if (dims.length === 3 && dims[1] === length) return (i) => mask.data[Math.floor(i / width)] === 1;
  if (/^(start|end)_logits/.test(key)) return (i) => mask.data[i] === 1;
  return () => true;
}

/** What is wrong with an output, or nothing. */
export function differences(
  key: string,
  actual: Numbers | undefined,
  expected: Numbers,
  limit: number,
  counts: (element: number) => boolean,
): string[] {
  if (!actual) return [`${key}: the model gives none`];
  if (String(actual.dims) !== String(expected.dims))
    return [`${key}: shape [${actual.dims.join(', ')}] in place of [${expected.dims.join(', ')}]`];
  let worst = 0;
  let counted = 0;
  expected.data.forEach((value, i) => {
    if (!counts(i)) return;
    counted++;
    const error = Math.abs(actual.data[i]! - value);
    if (!(error <= worst)) worst = error;
  });
  if (counted === 0) return [`${key}: nothing was compared`];
  return worst <= limit
    ? []
    : [`${key}: differs by ${worst.toExponential(2)}, at most ${limit.toExponential(2)} are allowed`];
}

export const limitOf = (hint: number | undefined): number => 1e-5 + 20 * (hint ?? 0);
