// T5, versions 1.0 and 1.1 (Flan too), and its encoder alone: no scale, relative positions that the layers of a stack share, RMS norms.

import type { ActivationName, BlockDescription, Family, StackDescription } from '../description.js';
import { feedForward, separateAttention, separateCrossAttention } from './blocks.js';
import { decodedHeads, logitsHead, present, SHARED_COPIES, sharedTable, tiedCopies } from './heads.js';
import { ACTIVATIONS, architectureOf, forLayers, generationOf, layersOf } from './settings.js';
import { matrixOf, Tensors } from './tensors.js';

interface Proj {
  readonly activation: ActivationName;
  readonly gated: boolean;
}

/** `relu`, `gated-silu`, ...; gated-gelu has always been the tanh formula. */
const PROJECTIONS: Readonly<Record<string, Proj>> = /* @__PURE__ */ Object.fromEntries(
  /* @__PURE__ */ Object.entries(ACTIVATIONS).flatMap(([name, activation]): [string, Proj][] => [
    [name, { activation, gated: false }],
    [`gated-${name}`, { activation: name === 'gelu' ? 'geluTanh' : activation, gated: true }],
  ]),
);

const MATRICES = ['q', 'k', 'v', 'o'] as const;
const NO_BIAS = { bias: false };

/** T5, T5 1.1 and Flan-T5: relative positions, encoder and decoder. */
export const t5: Family = {
  modelTypes: ['t5'],
  describe(config, names) {
    const root = Tensors.find(names, ['', 'transformer.'], 'encoder.final_layer_norm.weight');
    const embedDim = config.integer('d_model|hidden_size');
    const heads = config.integer('num_heads|num_attention_heads');
    const sizes = { embedDim, heads, keyValueHeads: heads, headDim: config.integer('d_kv') };
    const inner = config.integer('d_ff');
    const epsilon = config.number('layer_norm_epsilon', 1e-6);
    const { activation, gated } = config.choice('feed_forward_proj', PROJECTIONS, 'relu');
    const buckets = config.integer('relative_attention_num_buckets', 32, 2);
    const maxDistance = config.integer('relative_attention_max_distance', 128);
    const layers = layersOf(config, 'num_layers|num_hidden_layers');
    const decoderLayers = layersOf(config, 'num_decoder_layers', layers);
    const tied = config.boolean('tie_word_embeddings', true);
    const scaled = config.boolean('scale_decoder_outputs', tied);
    // What follows from feed_forward_proj, and lengths without a meaning.
    config.skip('dense_act_fn', 'is_gated_act', 'n_positions', 'is_encoder_decoder');

    const vocabulary = config.integer('vocab_size');
    const table = sharedTable(root, vocabulary, embedDim);

    const stackOf = (name: 'encoder' | 'decoder', count: number): StackDescription => {
      const tensors = root.under(`${name}.`);
      const isDecoder = name === 'decoder';
      const relativePositions = {
        table: tensors.source('block.0.layer.0.SelfAttention.relative_attention_bias.weight', buckets, heads),
        buckets,
        maxDistance,
        bidirectional: !isDecoder,
      };
      return {
        embedDim,
        input: { kind: 'tokens', table },
        blocks: forLayers(count, (layer): BlockDescription => {
          const sublayer = (number: number): Tensors => tensors.under(`block.${layer}.layer.${number}.`);
          const before = (tensors: Tensors) => ({ before: tensors.rmsNorm('layer_norm', embedDim, epsilon) });
          const [first, second, last] = [sublayer(0), sublayer(1), sublayer(isDecoder ? 2 : 1)];
          const dense = last.under('DenseReluDense.');
          return {
            attention: {
              ...separateAttention(first.under('SelfAttention.'), MATRICES, sizes, NO_BIAS),
              scale: 1,
              causal: isDecoder,
              relativePositions,
              ...before(first),
            },
            crossAttention: isDecoder
              ? {
                  ...separateCrossAttention(second.under('EncDecAttention.'), MATRICES, sizes, NO_BIAS),
                  scale: 1,
                  ...before(second),
                }
              : undefined,
            feedForward: {
              ...feedForward(
                dense,
                gated ? ['wi_1', 'wo', 'wi_0'] : ['wi', 'wo'],
                embedDim,
                inner,
                activation,
                false,
              ),
              ...before(last),
            },
          };
        }),
        norm: tensors.rmsNorm('final_layer_norm', embedDim, epsilon),
      };
    };

    const common = {
      family: 't5',
      buffers: [
        /EncDecAttention\.relative_attention_bias\.weight$/,
        SHARED_COPIES,
        ...tiedCopies(tied && scaled, 'lm_head.weight'),
      ],
      generation: generationOf(config),
    };
    const encoder = stackOf('encoder', layers);
    const classifier = logitsHead(new Tensors(names), 'classifier', 'tokens', embedDim);
    if (architectureOf(config) === 'T5EncoderModel' || !root.has('decoder.final_layer_norm.weight')) {
      return { ...common, kind: 'encoder', stack: encoder, heads: present(classifier) };
    }
    // transformers 5 calls the model tied in any case, and says with another setting what its head is.
    const ownHead = !tied || (!scaled && root.has('lm_head.weight'));
    const weight = ownHead ? root.source('lm_head.weight', vocabulary, embedDim) : table;
    return {
      ...common,
      kind: 'encoder-decoder',
      encoder,
      decoder: stackOf('decoder', decoderLayers),
      heads: decodedHeads(
        new Tensors(names),
        embedDim,
        common.generation.endTokenIds[0],
        matrixOf(weight),
        scaled ? 1 / Math.sqrt(embedDim) : undefined,
      ),
    };
  },
};
