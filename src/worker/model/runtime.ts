// A runtime in a worker that knows models: what a worker runtime does, and what `wasm-attention/model` does, as promises over handles.

import { workerScript } from './script.js'; // first
import type {
  ActivationOptions,
  ArgmaxOptions,
  ConvolutionOptions,
  EmbeddingLayerOptions,
  EmbeddingOptions,
  FeedForwardOptions,
  FirstTokenOptions,
  FusedLinearOptions,
  GeluOptions,
  Indices,
  LayerNormOptions,
  ModelSize,
  NormalizeOptions,
  NormOptions,
  PoolingOptions,
  RmsNormOptions,
  TransformerBlockOptions,
  TransformerOptions,
} from '../../model/index.js';
import type { DataType } from '../../index.js';
import { AttentionError } from '../../runtime/errors.js';
import type { WorkerTensor } from '../handle.js';
import type { Link } from '../link.js';
import { handleClasses, openRuntime, WorkerRuntime } from '../worker-runtime.js';
import type {
  Remote,
  WorkerInput,
  WorkerLinearWeights,
  WorkerOptions,
  WorkerRuntimeOptions,
} from '../worker-runtime.js';
import { sendable } from './files.js';
import { modelHandleClasses } from './handles.js';
import type {
  WorkerBlockLayer,
  WorkerEmbedding,
  WorkerLoadOptions,
  WorkerModel,
  WorkerRowLayer,
} from './handles.js';

type RowOperation<Options, Type extends DataType = 'float32'> = (
  input: WorkerInput,
  options?: WorkerOptions<Options>,
) => Promise<WorkerTensor<Type>>;

type LayerMaker<Options, Layer> = (options: WorkerOptions<Options>) => Promise<Layer>;

/**
 * Starts a worker and a runtime in it, with the kernels of models.
 *
 * @param options those of `createRuntime`, and where the worker comes from: the file `wasm-attention/model-worker`
 * @throws AttentionError UNSUPPORTED where no worker can be had (no workers on the platform, a content security policy,
 *   an address that does not load); what `createRuntime` throws
 *
 * @example
 * ```js
 * const remote = await createWorkerRuntime({ threads: 'auto' });
 * const gpt2 = await remote.loadModel({ config, weights });
 * for await (const { tokens } of gpt2.generate({ inputIds: [[5, 6, 7]] }, { maxNewTokens: 3 })) {
 *   tokens.length; // 1
 * }
 * remote.dispose();
 * ```
 */
export function createWorkerRuntime(options: WorkerRuntimeOptions = {}): Promise<ModelWorkerRuntime> {
  return openRuntime(options, workerScript(), ModelWorkerRuntime, {
    ...handleClasses,
    ...modelHandleClasses,
  });
}

/**
 * The operations, layers and models of the package, run in a worker; they mean what the functions and classes of the same names do.
 *
 * @example
 * ```js
 * const y = await remote.layerNorm({ data: [1, 3], shape: [2] }, { epsilon: 0 });
 * await y.read(); // [-1, 1]
 * ```
 */
export class ModelWorkerRuntime extends WorkerRuntime {
  /** See `fusedLinear`. */
  declare readonly fusedLinear: (
    input: WorkerInput,
    weights: WorkerLinearWeights,
    options?: WorkerOptions<FusedLinearOptions>,
  ) => Promise<WorkerTensor<'float32'>>;

  /** See `convolution`. */
  declare readonly convolution: (
    input: WorkerInput,
    weights: WorkerLinearWeights,
    options: WorkerOptions<ConvolutionOptions>,
  ) => Promise<WorkerTensor<'float32'>>;

  /** See `embedding`. */
  declare readonly embedding: (
    ids: Remote<Indices>,
    table: WorkerInput | WorkerLinearWeights,
    options?: WorkerOptions<EmbeddingOptions>,
  ) => Promise<WorkerTensor<'float32'>>;

  /** See `layerNorm`. */
  declare readonly layerNorm: RowOperation<LayerNormOptions>;
  /** See `rmsNorm`. */
  declare readonly rmsNorm: RowOperation<RmsNormOptions>;
  /** See `normalize`. */
  declare readonly normalize: RowOperation<NormalizeOptions>;
  /** See `gelu`. */
  declare readonly gelu: RowOperation<GeluOptions>;
  /** See `quickGelu`. */
  declare readonly quickGelu: RowOperation<ActivationOptions>;
  /** See `silu`. */
  declare readonly silu: RowOperation<ActivationOptions>;
  /** See `relu`. */
  declare readonly relu: RowOperation<ActivationOptions>;
  /** See `tanh`. */
  declare readonly tanh: RowOperation<ActivationOptions>;
  /** See `meanPooling`. */
  declare readonly meanPooling: RowOperation<PoolingOptions>;
  /** See `firstToken`. */
  declare readonly firstToken: RowOperation<FirstTokenOptions>;
  /** See `lastToken`. */
  declare readonly lastToken: RowOperation<PoolingOptions>;
  /** See `argmax`. */
  declare readonly argmax: RowOperation<ArgmaxOptions, 'int32'>;

  /** See `LayerNorm`; then `load`, then `forward`. */
  declare readonly createLayerNorm: LayerMaker<NormOptions, WorkerRowLayer>;
  /** See `RmsNorm`. */
  declare readonly createRmsNorm: LayerMaker<NormOptions, WorkerRowLayer>;
  /** See `FeedForward`. */
  declare readonly createFeedForward: LayerMaker<FeedForwardOptions, WorkerRowLayer>;
  /** See `Embedding`. */
  declare readonly createEmbedding: LayerMaker<EmbeddingLayerOptions, WorkerEmbedding>;
  /** See `TransformerBlock`. */
  declare readonly createTransformerBlock: LayerMaker<TransformerBlockOptions, WorkerBlockLayer>;
  /** See `Transformer`. */
  declare readonly createTransformer: LayerMaker<TransformerOptions, WorkerBlockLayer>;

  /** @internal Use `createWorkerRuntime`. */
  constructor(link: Link) {
    super(link);
    if (link.signatures['loadModel']) return;
    throw new AttentionError({
      code: 'INVALID_ARGUMENT',
      argument: 'worker',
      expected: 'a worker that runs wasm-attention/model-worker',
      received: 'one that knows no models',
    });
  }

  /**
   * See `loadModel` of `wasm-attention/model`. Files at addresses are fetched in the worker, a Blob is read there, bytes are copied to
   * it, or moved with `transfer: true`. Other calls do not wait until a model is loaded.
   */
  async loadModel(options: WorkerLoadOptions): Promise<WorkerModel> {
    return this.link.call('loadModel', await sendable(options));
  }

  /** See `measureModel`. */
  async measureModel(options: WorkerLoadOptions): Promise<ModelSize> {
    return this.link.call('measureModel', await sendable(options));
  }
}
