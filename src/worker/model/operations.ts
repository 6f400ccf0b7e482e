// What a worker of models can be asked to do, beside all that a worker of the package can: operations and layers of
// `wasm-attention/model`, and models.

import { GENERATE_NAMES } from '../../model/generation/generate.js';
import { Embedding, EMBEDDING_NAMES, embeddingLayerOperation } from '../../model/layers/embedding.js';
import { FeedForward } from '../../model/layers/feed-forward.js';
import { Layer } from '../../model/layers/layer.js';
import { LayerNorm, NORM_NAMES, RmsNorm } from '../../model/layers/norms.js';
import { BLOCK_NAMES, FEED_FORWARD_NAMES } from '../../model/layers/options.js';
import { RowLayer, rowOperation } from '../../model/layers/row-layer.js';
import {
  BlockLayer,
  blockOperation,
  Transformer,
  TRANSFORMER_NAMES,
  TransformerBlock,
} from '../../model/layers/transformer-block.js';
import { LOAD_NAMES, loadModel, measureModel } from '../../model/load.js';
import { Model, modelOperation } from '../../model/model.js';
import { model as pack } from '../../model/pack.js';
import { SAVE_NAMES } from '../../model/save.js';
import {
  geluOperation,
  quickGeluOperation,
  reluOperation,
  siluOperation,
  tanhOperation,
} from '../../ops/activations/activations.js';
import { embeddingOperation } from '../../ops/embedding/embedding.js';
import { convolutionOperation } from '../../ops/linear/convolution.js';
import { fusedLinearOperation } from '../../ops/linear/fused-linear.js';
import { layerNormOperation, normalizeOperation, rmsNormOperation } from '../../ops/norms/norm.js';
import { argmaxOperation } from '../../ops/rows/argmax.js';
import { firstTokenOperation, lastTokenOperation, meanPoolingOperation } from '../../ops/rows/pooling.js';
import { checkInstance } from '../../runtime/checks.js';
import type { Names } from '../../runtime/checks.js';
import type { Runtime } from '../../runtime/runtime.js';
import { action, repertoire as base } from '../operations.js';
import type { Action, Call, Described, Repertoire } from '../operations.js';
import { received } from './files.js';
import { Stream } from './stream.js';

const operations: Repertoire['operations'] = {
  fusedLinear: fusedLinearOperation,
  convolution: convolutionOperation,
  embedding: embeddingOperation,
  layerNorm: layerNormOperation,
  rmsNorm: rmsNormOperation,
  normalize: normalizeOperation,
  gelu: geluOperation,
  quickGelu: quickGeluOperation,
  silu: siluOperation,
  relu: reluOperation,
  tanh: tanhOperation,
  meanPooling: meanPoolingOperation,
  firstToken: firstTokenOperation,
  lastToken: lastTokenOperation,
  argmax: argmaxOperation,
  'RowLayer.forward': rowOperation,
  'EmbeddingLayer.forward': embeddingLayerOperation,
  'BlockLayer.forward': blockOperation,
  'Model.forward': modelOperation,
};

/** Names of options, without those that the call itself has, or that say where a model is to live. */
function sendableNames(names: Names): Names {
  const here = ['runtime', 'runtimeOptions', 'signal', 'onProgress'];
  return Object.fromEntries(Object.entries(names).filter(([name]) => !here.includes(name)));
}

/** What reads files, beside which other calls are run. */
function withFiles(run: (options: object, call: Call) => Promise<unknown>): Action {
  const read = async (call: Call): Promise<unknown> => {
    const { options, close } = received(call.options as object);
    try {
      return await run(options, call);
    } finally {
      close();
    }
  };
  return { ...action('', read, sendableNames(LOAD_NAMES)), beside: true };
}

const layerMaker = <Options>(kind: new (runtime: Runtime, options: Options) => Layer, names: Names) =>
  action('', ({ runtime, options }) => new kind(runtime, options), names);

const actions: Repertoire['actions'] = {
  loadModel: withFiles((options, { runtime, watched }) => loadModel({ ...options, runtime, ...watched })),
  measureModel: withFiles((options, { watched: { signal } }) => measureModel({ ...options, signal })),
  'Model.createCache': action(
    'model',
    ({ inputs: { model }, options }) => modelOf(model).createCache(options),
    {
      batch: 1,
      capacity: 1,
      storage: 1,
    },
  ),
  'Model.readPrompt': action(
    'model inputs',
    ({ inputs: { model, inputs }, options, watched: { signal } }) =>
      modelOf(model).readPrompt(inputs!, { ...(options as object), signal }),
    { prefix: 1, storage: 1 },
  ),
  'Model.generate': action(
    'model inputs',
    ({ inputs: { model, inputs }, options }) => {
      const speaker = modelOf(model);
      return new Stream((signal) => speaker.generate(inputs!, { ...(options as object), signal }));
    },
    sendableNames(GENERATE_NAMES),
  ),
  'Model.save': action(
    'model',
    ({ inputs: { model }, options }) => {
      const chunks = modelOf(model).save(options);
      return new Stream(() => chunks);
    },
    SAVE_NAMES,
  ),
  'Stream.next': action('stream', ({ inputs: { stream }, watched: { signal } }) =>
    checkInstance('stream', stream, Stream).next(signal),
  ),

  createLayerNorm: layerMaker(LayerNorm, NORM_NAMES),
  createRmsNorm: layerMaker(RmsNorm, NORM_NAMES),
  createFeedForward: layerMaker(FeedForward, FEED_FORWARD_NAMES),
  createEmbedding: layerMaker(Embedding, EMBEDDING_NAMES),
  createTransformerBlock: layerMaker(TransformerBlock, BLOCK_NAMES),
  createTransformer: layerMaker(Transformer, TRANSFORMER_NAMES),
  'Layer.load': action(
    'layer stateDict prefix',
    ({ inputs: { layer, stateDict, prefix } }) =>
      checkInstance('layer', layer, Layer).load(stateDict!, prefix).leftAside,
  ),
  'BlockLayer.createCache': action(
    'layer',
    ({ inputs: { layer }, options }) => checkInstance('layer', layer, BlockLayer).createCache(options),
    { batch: 1, capacity: 1 },
  ),
};

function modelOf(value: unknown): Model {
  return checkInstance('model', value, Model);
}

function describe(value: unknown): Described | undefined {
  if (value instanceof Model) {
    const { family, description, parameterCount, bytes, leftAside } = value;
    return { kind: 'model', properties: { family, description, parameterCount, bytes, leftAside } };
  }
  if (value instanceof Layer) {
    const { parameterCount, parameterNames } = value;
    const kind =
      value instanceof RowLayer ? 'rowLayer' : value instanceof BlockLayer ? 'blockLayer' : 'embeddingLayer';
    return { kind, properties: { parameterCount, parameterNames } };
  }
  return value instanceof Stream ? { kind: 'stream', properties: {} } : base.describe(value);
}

/** What a worker of models does. */
export const repertoire: Repertoire = {
  operations: { ...base.operations, ...operations },
  actions: { ...base.actions, ...actions },
  describe,
  packs: [pack],
};
