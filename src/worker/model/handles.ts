// Models and layers of `wasm-attention/model` that live in a worker, as the program outside knows them.

import type {
  BlockForwardOptions,
  BlockResult,
  EmbeddingForwardOptions,
  GenerateOptions,
  GenerationStep,
  LoadModelOptions,
  Model,
  ModelForwardOptions,
  ModelInputs,
  ModelOutput,
  RowLayerOptions,
  SaveOptions,
  TokenList,
  TransformerBlock,
} from '../../model/index.js';
import type { StateDictTensor } from '../../index.js';
import { disposeAll } from '../../model/output.js';
import { Disposable } from '../../runtime/disposable.js';
import { WorkerHandle } from '../handle.js';
import type { WorkerTensor } from '../handle.js';
import type { CallOptions, HandleClasses, Link } from '../link.js';
import { partOf } from '../worker-runtime.js';
import type {
  Remote,
  TransferOptions,
  WorkerInput,
  WorkerKeyValueCache,
  WorkerOptions,
} from '../worker-runtime.js';

/** Options of `loadModel` in a worker, where every family is known and files are fetched by the worker's own `fetch`. */
export type WorkerLoadOptions = Omit<LoadModelOptions, 'runtime' | 'runtimeOptions' | 'families' | 'fetch'> &
  TransferOptions;

/** Options of `generate` in a worker. */
export type WorkerGenerateOptions = Remote<Omit<GenerateOptions, 'signal' | 'onLogits'>> &
  Pick<CallOptions, 'signal'>;

/** What a call returns of which the parts are handles: disposing it disposes all of them. */
export type WorkerResult<Result> = WorkerParts & {
  readonly [Name in Exclude<keyof Result, keyof WorkerParts>]: Remote<Result[Name]>;
};

/**
 * Handles that can be disposed together.
 *
 * @example
 * ```js
 * const gpt2 = await remote.loadModel({ config, weights });
 * const output = await gpt2.forward({ inputIds: [[5, 6, 7]] });
 * output.logits.shape; // [1, 3, 16]
 * output.dispose();
 * ```
 */
export class WorkerParts extends Disposable {
  /** @internal */
  constructor(parts: object) {
    super();
    Object.assign(this, parts);
  }

  /** Frees the tensors and records, after the calls made before. Safe to repeat. */
  dispose(): void {
    disposeAll(this);
  }
}

async function callForParts<Result>(
  link: Link,
  operation: string,
  ...given: readonly unknown[]
): Promise<WorkerResult<Result>> {
  return new WorkerParts(await link.call<object>(operation, ...given)) as WorkerResult<Result>;
}

/** Values of an iterator in the worker: each is asked for when it is wanted, and what it holds is freed where the loop ends. */
async function* valuesOf<Value>(
  link: Link,
  operation: string,
  ...given: readonly unknown[]
): AsyncGenerator<Value, void, undefined> {
  const stream = await link.call<WorkerHandle>(operation, ...given);
  const { signal } = (given.at(-1) ?? {}) as Pick<CallOptions, 'signal'>;
  try {
    for (;;) {
      const next = await link.call<IteratorResult<Value, void>>('Stream.next', stream, { signal });
      if (next.done) return;
      yield next.value;
    }
  } finally {
    stream.dispose();
  }
}

class WorkerStream extends WorkerHandle {}

/**
 * A `Model` in the worker; made by `loadModel`.
 *
 * @example
 * ```js
 * const bert = await remote.loadModel({ config, weights });
 * const { lastHiddenState } = await bert.forward({ inputIds: [[2, 5, 7, 3]] }, { read: true });
 * await lastHiddenState.read(); // Float32Array
 * bert.dispose();
 * ```
 */
export class WorkerModel extends WorkerHandle {
  /** See `Model.family`. */
  declare readonly family: string;
  /** See `Model.description`. */
  declare readonly description: Model['description'];
  /** See `Model.parameterCount`. */
  declare readonly parameterCount: number;
  /** See `Model.bytes`. */
  declare readonly bytes: number;
  /** See `Model.leftAside`. */
  declare readonly leftAside: readonly string[];

  /** @internal */
  constructor(link: Link, number: number, properties: Record<string, unknown>) {
    super(link, number);
    Object.assign(this, properties);
  }

  /** See `Model.forward`. */
  forward(
    inputs: Remote<ModelInputs>,
    options?: WorkerOptions<ModelForwardOptions>,
  ): Promise<WorkerResult<ModelOutput>> {
    return callForParts(this.link, 'Model.forward', this, inputs, options);
  }

  /**
   * See `Model.generate`. The worker computes a token when it is asked for: it is never ahead of the loop. Ending the loop, an
   * error or the signal frees what generation holds there.
   */
  generate(
    inputs: Remote<ModelInputs>,
    options: WorkerGenerateOptions = {},
  ): AsyncGenerator<GenerationStep, void, undefined> {
    return valuesOf(this.link, 'Model.generate', this, inputs, options);
  }

  /** See `Model.createCache`. */
  createCache(options?: Parameters<Model['createCache']>[0]): Promise<WorkerKeyValueCache> {
    return this.link.call('Model.createCache', this, options);
  }

  /** See `Model.readPrompt`. */
  readPrompt(
    inputs: Remote<ModelInputs>,
    options?: Pick<WorkerGenerateOptions, 'prefix' | 'storage' | 'signal'>,
  ): Promise<WorkerKeyValueCache> {
    return this.link.call('Model.readPrompt', this, inputs, options);
  }

  /** See `Model.save`. Chunks are moved, one whenever it is asked for. */
  save(options: SaveOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    return valuesOf(this.link, 'Model.save', this, options);
  }
}

/** A layer of `wasm-attention/model` in the worker. */
abstract class WorkerLayer extends WorkerHandle {
  /** Number of weights and biases. */
  declare readonly parameterCount: number;
  /** Names of the parameters, without a prefix. */
  declare readonly parameterNames: readonly string[];
  #leftAside: readonly string[] = [];

  /** @internal */
  constructor(link: Link, number: number, properties: Record<string, unknown>) {
    super(link, number);
    Object.assign(this, properties);
  }

  /** Names under the prefix of the last `load` that this layer has no use for. */
  get leftAside(): readonly string[] {
    return this.#leftAside;
  }

  /** Takes weights by name, as the layer's own `load` does. Of the state dict only what is under the prefix crosses to the worker. */
  async load(
    stateDict: Readonly<Record<string, StateDictTensor>>,
    prefix?: string,
    options: TransferOptions = {},
  ): Promise<this> {
    const part = partOf(stateDict, prefix);
    this.#leftAside = await this.link.call('Layer.load', this, part, prefix, options);
    return this;
  }
}

/**
 * A `LayerNorm`, an `RmsNorm` or a `FeedForward` in the worker.
 *
 * @example
 * ```js
 * const norm = await remote.createRmsNorm({ channels: 2 });
 * await norm.load({ weight: { data: [1, 1], shape: [2] } });
 * const y = await norm.forward({ data: [3, 3], shape: [1, 2] });
 * y.shape; // [1, 2]
 * ```
 */
export class WorkerRowLayer extends WorkerLayer {
  /** See `forward` of the layer. */
  forward(x: WorkerInput, options?: WorkerOptions<RowLayerOptions>): Promise<WorkerTensor<'float32'>> {
    return this.link.call('RowLayer.forward', this, x, options);
  }
}

/**
 * An `Embedding` in the worker.
 *
 * @example
 * ```js
 * const layer = await remote.createEmbedding({ vocabulary: 3, embedDim: 2 });
 * await layer.load({ weight: { data: [0, 1, 10, 11, 20, 21], shape: [3, 2] } });
 * const rows = await layer.forward([[2, 0]]);
 * await rows.read(); // [20, 21, 0, 1]
 * ```
 */
export class WorkerEmbedding extends WorkerLayer {
  /** See `Embedding.forward`. */
  forward(
    ids: TokenList,
    options?: WorkerOptions<EmbeddingForwardOptions>,
  ): Promise<WorkerTensor<'float32'>> {
    return this.link.call('EmbeddingLayer.forward', this, ids, options);
  }
}

/**
 * A `TransformerBlock` or a `Transformer` in the worker.
 *
 * @example
 * ```js
 * const block = await remote.createTransformerBlock({ embedDim: 8, numHeads: 2, feedForwardDim: 32 });
 * block.parameterNames.length; // 16
 * block.dispose();
 * ```
 */
export class WorkerBlockLayer extends WorkerLayer {
  /** See `TransformerBlock.forward`. */
  forward(x: WorkerInput, options?: WorkerOptions<BlockForwardOptions>): Promise<WorkerResult<BlockResult>> {
    return callForParts(this.link, 'BlockLayer.forward', this, x, options);
  }

  /** See `TransformerBlock.createCache`. */
  createCache(options?: Parameters<TransformerBlock['createCache']>[0]): Promise<WorkerKeyValueCache> {
    return this.link.call('BlockLayer.createCache', this, options);
  }
}

export const modelHandleClasses: HandleClasses = {
  model: WorkerModel,
  rowLayer: WorkerRowLayer,
  embeddingLayer: WorkerEmbedding,
  blockLayer: WorkerBlockLayer,
  stream: WorkerStream,
};
