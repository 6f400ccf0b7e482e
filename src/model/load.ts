// From a config and weights to a model: what it is made of, memory for it, and its parameters, piece by piece.

import { wasm } from '../../build/embedded-attention.js';
import { openCheckpoint } from '../checkpoints/checkpoint.js';
import type { Checkpoint, CheckpointTensor, Weights } from '../checkpoints/checkpoint.js';
import type { FolderModule } from '../checkpoints/folder.js';
import type { Files } from '../checkpoints/shards.js';
import { checkOptions } from '../runtime/checks.js';
import type { NamesOf } from '../runtime/checks.js';
import { invalidArgument } from '../runtime/errors.js';
import { checkRuntime } from '../runtime/inputs.js';
import { startRuntime } from '../runtime/runtime.js';
import type { Runtime } from '../runtime/runtime.js';
import type { RuntimeOptions } from '../runtime/runtime-options.js';
import type { ThreadsOptions } from '../runtime/threads/threads.js';
import { nextTurn } from '../platform/turns.js';
import { describer } from './describe.js';
import type { Family, HeadDescription, ModelDescription } from './description.js';
import { Head } from './heads.js';
import { Stack } from './layers/stack.js';
import { Model } from './model.js';
import type { BuiltModel } from './model.js';
import { Parameters } from './parameters.js';
import { model as pack } from './pack.js';
import { loadParts, stacksOf } from './parts.js';
import type { Parts } from './parts.js';
import type { SentencePooling } from './sentence.js';

/** Options of `loadModel`. */
export interface LoadModelOptions {
  /** What config.json holds: the parsed object. */
  readonly config?: unknown;
  /** The safetensors: bytes, a Blob, an address, shards. */
  readonly weights?: Weights | undefined;
  /** In place of both: a folder as it is published, by its address or by a function from names to files. */
  readonly folder?: Files | undefined;
  /** What sentence-transformers puts after the model: the entries of modules.json, each with its own `config`. A folder brings them. */
  readonly modules?: readonly FolderModule[] | undefined;
  /** Settings of generation, as generation_config.json has them: end tokens. A folder brings them. */
  readonly generationConfig?: Readonly<Record<string, unknown>> | undefined;
  /** Where the model is to live. Default: a runtime of its own, disposed with it. */
  readonly runtime?: Runtime | undefined;
  /** Of a runtime of its own: see `createRuntime`. */
  readonly runtimeOptions?: RuntimeOptions | undefined;
  /** The families that the program knows. Default: all, which bundlers keep in a file of their own. */
  readonly families?: readonly Family[] | undefined;
  /** Settings of the config to pass over, whatever they say: those this package does not know are an error otherwise. */
  readonly ignoreSettings?: readonly string[] | undefined;
  /** What to do with tensors that the model has no use for: an error that names them (default), or leave them aside. */
  readonly leftOver?: 'error' | 'ignore' | undefined;
  /** Where a browser keeps what was downloaded: the name of a cache, or false for none. See `openCheckpoint`. */
  readonly cache?: string | false | undefined;
  /** In place of the engine's own, for headers of one's own. */
  readonly fetch?: typeof fetch | undefined;
  /** Ends loading; nothing stays. */
  readonly signal?: AbortSignal | undefined;
  /** Called as bytes come in. */
  readonly onProgress?: ((progress: { readonly done: number; readonly total: number }) => void) | undefined;
}

export const LOAD_NAMES = {
  config: 1,
  weights: 1,
  folder: 1,
  modules: 1,
  generationConfig: 1,
  cache: 1,
  fetch: 1,
  runtime: 1,
  runtimeOptions: 1,
  families: 1,
  ignoreSettings: 1,
  leftOver: 1,
  signal: 1,
  onProgress: 1,
} satisfies NamesOf<LoadModelOptions>;

/** What a model will take, known from the header of its file. */
export interface ModelSize {
  /** The family, as `model_type` calls it. */
  readonly family: string;
  /** Weights and biases. */
  readonly parameterCount: number;
  /** Bytes to read. */
  readonly fileBytes: number;
  /** Bytes of linear memory for weights. */
  readonly memoryBytes: number;
}

/** Everything that is known before weights are read. */
interface Plan {
  readonly description: ModelDescription;
  /** The checkpoint, and those of dense layers after the model, by what the names of their tensors begin with. */
  readonly checkpoints: ReadonlyMap<string, Checkpoint>;
  /** Every tensor of them. */
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  readonly sentence: ((parameters: Parameters) => SentencePooling) | undefined;
  readonly parts: Parts;
  /** What is read, counted: no memory is behind it. */
  readonly parameters: Parameters;
}

/**
 * Loads a model from the files that Hugging Face publishes. The file is read piece by piece: it never lies in memory twice.
 *
 * @throws AttentionError UNSUPPORTED for a family or a setting that this package does not know, INVALID_FILE that lists all tensors that
 *   are missing, left over or of another shape, INVALID_ARGUMENT, OUT_OF_MEMORY
 *
 * @example
 * ```js
 * const model = await loadModel({ config, weights }); // parsed config.json; bytes, a Blob or an address of model.safetensors
 * const { lastHiddenState } = model.forward({ inputIds: [[2, 5, 7, 3]] });
 * model.dispose();
 * ```
 */
export async function loadModel(options: LoadModelOptions): Promise<Model> {
  const plan = await planModel(options);
  const ownsRuntime = options.runtime === undefined;
  let runtime = options.runtime;
  let model: Model | undefined;
  try {
    runtime ??= await startRuntime({ ...options.runtimeOptions, packs: [pack] }, wasm, startThreads);
    checkRuntime(runtime);
    await runtime.load(pack);
    options.signal?.throwIfAborted();
    runtime.linearMemory.makeRoom(plan.parameters.room);
    const { built, parameters } = build(plan, runtime);
    model = new Model(parameters, plan.description, built, { parts: plan.parts, ownsRuntime });
    model.leftAside = parameters.check(plan.tensors);
    await fill(plan, parameters, options);
    return model;
  } catch (error) {
    await closeAll(plan.checkpoints);
    model?.dispose();
    if (ownsRuntime) runtime?.dispose();
    throw error;
  }
}

/**
 * What a model will take, from its config and the header of its file: nothing else is read.
 *
 * @throws as {@link loadModel} does
 *
 * @example
 * ```js
 * const { memoryBytes, fileBytes } = await measureModel({ config, weights });
 * ```
 */
export async function measureModel(options: LoadModelOptions): Promise<ModelSize> {
  const plan = await planModel(options);
  const { parameters } = plan;
  await closeAll(plan.checkpoints);
  let fileBytes = 0;
  for (const name of parameters.names) fileBytes += plan.tensors.get(name)?.bytes ?? 0;
  return {
    family: plan.description.family,
    parameterCount: parameters.count,
    fileBytes,
    memoryBytes: parameters.bytes,
  };
}

async function startThreads(options: ThreadsOptions) {
  const { Threads } = await import('../runtime/threads/threads.js');
  return Threads.start(options);
}

/** Config and headers, and what the family makes of them. */
async function planModel(options: LoadModelOptions): Promise<Plan> {
  checkOptions(options, LOAD_NAMES, {}, '');
  const { signal, leftOver = 'error', families, ignoreSettings } = options;
  if (signal !== undefined && typeof signal?.throwIfAborted !== 'function')
    throw invalidArgument('signal', 'an AbortSignal', signal);
  signal?.throwIfAborted();
  if (leftOver !== 'error' && leftOver !== 'ignore')
    throw invalidArgument('leftOver', "'error' or 'ignore'", leftOver);
  const { config, weights, modules, generationConfig } = await filesOf(options);
  const describe = await describer({ config, families, ignoreSettings, generationConfig });
  const sentence = modules && (await import('./sentence.js')).sentenceOf(modules);
  const opened = await openAll(weights, modules, options);
  try {
    const { tensors } = opened;
    const description = describe({
      has: (name) => tensors.has(name),
      shape: (name) => tensors.get(name)?.shape,
    });
    // Sizes are counted and tensors compared before any memory is asked for.
    const parts = await loadParts(description);
    const { parameters } = build({ description, sentence, parts }, undefined);
    checkTensors(description, tensors, parameters, options);
    return { ...opened, description, sentence, parts, parameters };
  } catch (error) {
    await closeAll(opened.checkpoints);
    throw error;
  }
}

/** The checkpoint of the model, and those of dense layers after it. */
async function openAll(
  weights: Weights,
  modules: readonly FolderModule[] | undefined,
  { signal, cache, fetch, onProgress }: LoadModelOptions,
): Promise<Pick<Plan, 'checkpoints' | 'tensors'>> {
  const options = {
    ...(signal && { signal }),
    ...(cache !== undefined && { cache }),
    ...(fetch && { fetch }),
  };
  const checkpoints = new Map([
    ['', await openCheckpoint(weights, { ...options, ...(onProgress && { onProgress }) })],
  ]);
  try {
    const tensors = new Map(checkpoints.get('')!.tensors);
    for (const { path, weights: own } of modules ?? []) {
      if (own === undefined) continue;
      const dense = await openCheckpoint(own, options);
      checkpoints.set(`${path}/`, dense);
      for (const [name, tensor] of dense.tensors) tensors.set(`${path}/${name}`, tensor);
    }
    return { checkpoints, tensors };
  } catch (error) {
    await closeAll(checkpoints);
    throw error;
  }
}

async function closeAll(checkpoints: Plan['checkpoints']): Promise<void> {
  for (const checkpoint of checkpoints.values()) await checkpoint.close();
}

async function filesOf(options: LoadModelOptions) {
  const { config, weights, modules, generationConfig, folder, signal, fetch } = options;
  if (folder === undefined) {
    if (weights === undefined)
      throw invalidArgument('weights', 'bytes, a Blob, an address or shards', weights);
    return { config, weights, modules, generationConfig };
  }
  if (config !== undefined || weights !== undefined)
    throw invalidArgument('folder', 'nothing beside config and weights', 'all of them');
  const { openFolder } = await import('../checkpoints/folder.js');
  const found = await openFolder(folder, { ...(signal && { signal }), ...(fetch && { fetch }) });
  return {
    ...found,
    modules: modules ?? found.modules,
    generationConfig: generationConfig ?? found.generationConfig,
  };
}

/** The layers of a description. Heads come first: a matrix can serve as a table, too. */
function build(
  { description, sentence, parts }: Pick<Plan, 'description' | 'sentence' | 'parts'>,
  runtime: Runtime | undefined,
): { readonly built: BuiltModel; readonly parameters: Parameters } {
  const parameters = new Parameters(runtime);
  try {
    const headsOf = (list: readonly HeadDescription[] = []) => list.map((head) => new Head(parameters, head));
    const dual = description.kind === 'dual';
    const built = {
      heads: headsOf(dual ? description.textHeads : description.heads),
      visionHeads: headsOf(dual ? description.visionHeads : []),
      sentence: sentence?.(parameters),
      logitScale: dual ? parameters.vector(description.logitScale) : undefined,
      stacks: stacksOf(description).map((stack) => new Stack(parameters, stack, parts)),
    };
    return { built, parameters };
  } catch (error) {
    parameters.dispose();
    throw error;
  }
}

/** Throws if there are tensors that do not fit, or that should not be there. */
function checkTensors(
  { buffers = [] }: ModelDescription,
  tensors: Plan['tensors'],
  parameters: Parameters,
  { leftOver }: LoadModelOptions,
): void {
  const isBuffer = (name: string) => buffers.some((buffer) => buffer.test(name));
  parameters.check(tensors, (name) => leftOver !== 'ignore' && !isBuffer(name));
}

/** Reads every tensor once, and lets others have a turn every few milliseconds. */
async function fill(
  { checkpoints }: Plan,
  parameters: Parameters,
  { signal }: LoadModelOptions,
): Promise<void> {
  let turn = performance.now();
  for (const [prefix, checkpoint] of checkpoints) {
    const names = parameters.names
      .filter((name) => name.startsWith(prefix))
      .map((name) => name.slice(prefix.length));
    for await (const piece of checkpoint.pieces(names.filter((name) => checkpoint.tensors.has(name)))) {
      signal?.throwIfAborted();
      parameters.write({ ...piece, name: prefix + piece.name });
      if (performance.now() - turn < SLICE) continue;
      await nextTurn();
      turn = performance.now();
    }
  }
  signal?.throwIfAborted();
}

/** Milliseconds between turns of the event loop. */
const SLICE = 12;
