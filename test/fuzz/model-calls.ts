// Public functions of `wasm-attention/model` with arguments that are right, for public-api.test.ts to replace.

import * as api from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import * as models from 'wasm-attention/model';
import type { Model } from 'wasm-attention/model';
import { smallModel } from '../support/small-models.js';

const floats = (...shape: number[]) => ({
  data: Float32Array.from({ length: shape.reduce((size, n) => size * n, 1) }, (_, i) => Math.sin(i)),
  shape,
});

type Calls = Record<string, [(...args: never[]) => unknown, unknown[]]>;

/** Something that is made for the call, and disposed after it. */
const briefly = <Made extends { dispose(): void }>(
  make: () => Made,
  use: (made: Made) => unknown,
): unknown => {
  const made = make();
  try {
    const result = use(made) as { dispose?: () => void } | undefined;
    if (typeof result?.dispose === 'function') result.dispose();
    return undefined;
  } finally {
    made.dispose();
  }
};

export async function modelCalls(
  runtime: Runtime,
): Promise<{ calls: Calls; objects: Record<string, unknown> }> {
  await runtime.load(models.model);
  const load = (title: string): Promise<Model> => {
    const { config, weights } = smallModel(title);
    return models.loadModel({ config, weights, runtime });
  };
  const [gpt2, bert, t5, vit] = (await Promise.all(
    ['gpt2: usual', 'bert: sequence classification, relu', 't5: usual', 'vit: usual'].map(load),
  )) as [Model, Model, Model, Model];
  const weights = new api.LinearWeights(runtime, floats(6, 4), floats(6));
  const gate = new api.LinearWeights(runtime, floats(6, 4));
  const kernels = new api.LinearWeights(runtime, floats(5, 3 * 2 * 2));
  const sizes = { embedDim: 8, numHeads: 2, feedForwardDim: 12 };
  const blockTensors = (cross = false) => {
    const tensors: Record<string, unknown> = {};
    const matrix = (name: string, out: number, inner: number) =>
      Object.assign(tensors, { [`${name}.weight`]: floats(out, inner), [`${name}.bias`]: floats(out) });
    for (const attention of cross ? ['attention', 'crossAttention'] : ['attention']) {
      for (const part of ['query', 'key', 'value', 'output']) matrix(`${attention}.${part}`, 8, 8);
      Object.assign(tensors, {
        [`${attention}.norm.weight`]: floats(8),
        [`${attention}.norm.bias`]: floats(8),
      });
    }
    matrix('feedForward.up', 12, 8);
    matrix('feedForward.down', 8, 12);
    return Object.assign(tensors, {
      'feedForward.norm.weight': floats(8),
      'feedForward.norm.bias': floats(8),
    });
  };
  const block = new models.TransformerBlock(runtime, { ...sizes, causal: true });
  block.load(blockTensors() as never);
  const feedForward = new models.FeedForward(runtime, { embedDim: 8, hiddenDim: 12 });
  feedForward.load({
    'up.weight': floats(12, 8),
    'up.bias': floats(12),
    'down.weight': floats(8, 12),
    'down.bias': floats(8),
  });
  const norm = new models.LayerNorm(runtime, { channels: 8 });
  norm.load({ weight: floats(8), bias: floats(8) });
  const embedding = new models.Embedding(runtime, {
    vocabulary: 9,
    embedDim: 4,
    positions: 6,
    tokenTypes: 2,
  });
  const x = floats(2, 3, 4);
  const plain = { output: undefined, runtime };
  const calls: Calls = {
    layerNorm: [models.layerNorm, [x, { weight: floats(4), bias: floats(4), epsilon: 1e-5, ...plain }]],
    rmsNorm: [models.rmsNorm, [x, { weight: floats(4), epsilon: 1e-5, unitOffset: true, ...plain }]],
    normalize: [models.normalize, [x, { epsilon: 1e-12, ...plain }]],
    gelu: [models.gelu, [x, { approximate: 'tanh', ...plain }]],
    quickGelu: [models.quickGelu, [x, plain]],
    silu: [models.silu, [x, plain]],
    relu: [models.relu, [x, plain]],
    tanh: [models.tanh, [x, plain]],
    fusedLinear: [
      models.fusedLinear,
      [x, weights, { activation: 'gelu', gate, residual: floats(2, 3, 6), output: undefined }],
    ],
    embedding: [
      models.embedding,
      [{ data: [1, 2, 3, 0], shape: [2, 2] }, floats(5, 4), { factor: 2, runtime }],
    ],
    convolution: [
      models.convolution,
      [floats(1, 3, 6, 6), kernels, { kernel: [2, 2], stride: [1, 2], padding: [0, 1], activation: 'relu' }],
    ],
    meanPooling: [models.meanPooling, [x, { lengths: [3, 2], mask: undefined, runtime }]],
    firstToken: [models.firstToken, [x, { runtime }]],
    lastToken: [models.lastToken, [x, { lengths: [3, 2], mask: undefined, runtime }]],
    argmax: [models.argmax, [x, { runtime }]],
    sampleToken: [
      models.sampleToken,
      [
        [1, 3, 2, 0.5],
        {
          ...{ temperature: 0.8, topK: 3, topP: 0.9, minP: 0.1, seed: 4, tokens: [1, 2], step: 1, row: 0 },
          ...{ repetitionPenalty: 1.1, presencePenalty: 0.1, frequencyPenalty: 0.1 },
        },
      ],
    ],
    'gpt2.forward': [
      gpt2.forward.bind(gpt2),
      [
        {
          inputIds: [
            [5, 6, 7],
            [8, 9, 10],
          ],
          attentionMask: [
            [1, 1, 1],
            [1, 1, 0],
          ],
          positionIds: [
            [0, 1, 2],
            [0, 1, 2],
          ],
        },
        {
          logits: 'last',
          returnHiddenStates: true,
          returnRecord: true,
          returnWeights: true,
          cache: undefined,
        },
      ],
    ],
    'bert.forward': [
      bert.forward.bind(bert),
      [
        {
          input_ids: [5, 6, 7],
          attention_mask: [1, 1, 1],
          token_type_ids: [0, 1, 1],
          position_ids: [2, 1, 0],
        },
        {},
      ],
    ],
    't5.forward': [
      t5.forward.bind(t5),
      [
        {
          inputIds: [[5, 6]],
          attentionMask: [[1, 1]],
          decoderInputIds: [[0, 7]],
          decoderAttentionMask: [[1, 1]],
        },
        { returnRecord: true },
      ],
    ],
    'vit.forward': [vit.forward.bind(vit), [{ pixelValues: floats(1, 3, 12, 12) }, { returnWeights: true }]],
    'gpt2.createCache': [gpt2.createCache.bind(gpt2), [{ batch: 2, capacity: 9, storage: 'float16' }]],
    TransformerBlock: [
      (options) => new models.TransformerBlock(runtime, options),
      [
        {
          ...{
            ...sizes,
            numKeyValueHeads: 1,
            headDim: 6,
            norm: 'rms',
            normPlacement: 'around',
            epsilon: 1e-5,
            parallel: false,
          },
          ...{
            causal: true,
            window: { left: 3, right: 0 },
            scale: 0.4,
            softcap: 5,
            rotary: { rotaryDim: 4 },
            alibi: false,
          },
          ...{ queryKeyNorm: 'head', crossAttention: false, activation: 'silu', gated: true, bias: false },
        },
      ],
    ],
    Transformer: [
      (options) => new models.Transformer(runtime, options),
      [{ ...sizes, numLayers: 2, finalNorm: true }],
    ],
    'block.forward': [
      block.forward.bind(block),
      [
        floats(2, 3, 8),
        {
          keyLengths: [3, 2],
          mask: undefined,
          positions: undefined,
          returnRecord: true,
          returnWeights: true,
          cache: undefined,
        },
      ],
    ],
    'block.createCache': [block.createCache.bind(block), [{ batch: 1, capacity: 4 }]],
    'block.load': [
      (tensors) =>
        briefly(
          () => new models.TransformerBlock(runtime, sizes),
          (made) => made.load(tensors),
        ),
      [blockTensors()],
    ],
    FeedForward: [
      (options) => new models.FeedForward(runtime, options),
      [{ embedDim: 8, hiddenDim: 12, activation: 'relu', gated: true, bias: false }],
    ],
    'feedForward.forward': [feedForward.forward.bind(feedForward), [floats(2, 3, 8), { output: undefined }]],
    LayerNorm: [(options) => new models.LayerNorm(runtime, options), [{ channels: 8, epsilon: 1e-5 }]],
    RmsNorm: [(options) => new models.RmsNorm(runtime, options), [{ channels: 8, epsilon: 1e-5 }]],
    'norm.forward': [norm.forward.bind(norm), [floats(3, 8), { output: undefined }]],
    Embedding: [
      (options) => new models.Embedding(runtime, options),
      [{ vocabulary: 9, embedDim: 4, positions: 6, tokenTypes: 2, factor: 2, norm: true, epsilon: 1e-5 }],
    ],
  };
  return {
    calls,
    objects: { gpt2, bert, t5, vit, weights, gate, kernels, block, feedForward, norm, embedding },
  };
}
