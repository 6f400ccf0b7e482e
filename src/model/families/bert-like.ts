// Encoders of text whose blocks have their norms after each sublayer: BERT and those that name or place parts of it differently.
// Touch: what they share; a family's own names are in its file.

import type { ConfigReader } from '../config.js';
import type { CheckpointNames, HeadDescription, SingleDescription, Source } from '../description.js';
import { layerNormBlock } from './blocks.js';
import type { BlockNames, BlockSettings, HeadSizes } from './blocks.js';
import { logitsHead, matrixStep, present, tiedCopies, twoStepClassifier } from './heads.js';
import { activationOf, architectureOf, forLayers, generationOf, layersOf } from './settings.js';
import { learnedPositions, matrixOf, Tensors } from './tensors.js';

/** Settings by BERT's names. */
export function blockSettings(config: ConfigReader, sizes: HeadSizes, epsilon = 1e-12): BlockSettings {
  return {
    sizes,
    inner: config.integer('intermediate_size'),
    epsilon: config.number('layer_norm_eps', epsilon),
    activation: activationOf(config, 'hidden_act', 'gelu'),
  };
}

/** What a family has of its own. */
interface BertLike {
  readonly family: string;
  /** What may stand before all names but those of heads. */
  readonly prefix: string;
  readonly block: BlockNames;
  readonly settings: BlockSettings;
  /** The module of a block. Default encoder.layer.N. */
  readonly blockNames?: readonly string[];
  /** Width of the embeddings, and of the matrix that widens them. Default that of the blocks. */
  readonly narrow?: { readonly channels: number; readonly matrix: string };
  /** Whether tokens have types. */
  readonly types: boolean;
  /** Where positions are counted from the padding id on, and padding is passed over (RoBERTa). */
  readonly paddingId?: number;
  /** Positions are sinusoidal, though they are stored. */
  readonly sinusoidal?: boolean;
  readonly heads: (from: HeadTensors) => readonly HeadDescription[];
  /** The module that guesses words, whose weight and bias may be stored twice. */
  readonly decoder: string;
}

interface HeadTensors {
  /** With the prefix. */
  readonly tensors: Tensors;
  /** Without it. */
  readonly root: Tensors;
  /** Embeddings of tokens. */
  readonly table: Source;
}

export function bertLike(config: ConfigReader, names: CheckpointNames, own: BertLike): SingleDescription {
  const { family, settings, narrow, types, paddingId, sinusoidal } = own;
  const { embedDim } = settings.sizes;
  const tensors = Tensors.find(names, [own.prefix, ''], 'embeddings.word_embeddings.weight');
  const embeddings = tensors.under('embeddings.');
  const channels = narrow?.channels ?? embedDim;
  const blockNames = own.blockNames ?? forLayers(layersOf(config), (layer) => `encoder.layer.${layer}.`);
  const rows = config.integer('max_position_embeddings');
  const kinds = types ? config.integer('type_vocab_size', 2, 0) : 0;
  const offset = paddingId === undefined ? 0 : paddingId + 1;
  if (rows <= offset) throw config.invalid('max_position_embeddings', `more than ${offset}`, rows);
  const table = embeddings.source('word_embeddings.weight', config.integer('vocab_size'), channels);
  config.only('position_embedding_type', 'absolute');
  config.skip('type_vocab_size');
  const positions = learnedPositions(
    embeddings,
    'position_embeddings',
    [rows, channels],
    offset,
    paddingId === undefined ? 'index' : 'padding',
  );
  return {
    kind: settings.causal ? 'decoder' : 'encoder',
    family,
    stack: {
      embedDim,
      input: {
        kind: 'tokens',
        table,
        types: kinds > 0 ? embeddings.source('token_type_embeddings.weight', kinds, channels) : undefined,
        positions: sinusoidal ? { ...positions, table: { ...positions.table, fixed: true } } : positions,
        paddingId,
        norm: embeddings.layerNorm('LayerNorm', channels, settings.epsilon),
        projection: narrow && tensors.matrix(narrow.matrix, channels, embedDim),
      },
      blocks: blockNames.map((name) => layerNormBlock(tensors.under(name), own.block, settings, 'after')),
      maxLength: rows - offset,
    },
    heads: own.heads({ tensors, root: new Tensors(names), table }),
    buffers: [
      /(^|\.)embeddings\.(position_ids|token_type_ids)$/,
      ...tiedCopies(true, `${own.decoder}.weight`, `${own.decoder}.bias`),
    ],
    generation: generationOf(config),
  };
}

function poolerHead(tensors: Tensors, name: string, width: number): HeadDescription | false {
  return (
    tensors.has(`${name}.weight`) && {
      name: 'poolerOutput',
      of: 'first',
      steps: [matrixStep(tensors.matrix(name, width, width), 'tanh')],
    }
  );
}

/** `classifier`, of each token or of a sequence, and `qa_outputs`, which all of these name alike. */
export function classifierHeads(
  config: ConfigReader,
  tensors: Tensors,
  width: number,
  sequence: HeadDescription['of'],
): HeadDescription[] {
  const ofTokens = architectureOf(config).endsWith('ForTokenClassification');
  return present(
    logitsHead(tensors, 'classifier', ofTokens ? 'tokens' : sequence, width),
    logitsHead(tensors, 'qa_outputs', 'tokens', width),
  );
}

interface MaskedHead {
  readonly dense: string;
  readonly norm: string;
  /** The module whose weight is the embeddings where they are tied. */
  readonly decoder: string;
  /** The bias, where it is not the decoder's own. */
  readonly bias?: string;
  readonly table: Source;
  readonly width: number;
  readonly settings: Pick<BlockSettings, 'activation' | 'epsilon'>;
}

/** Guesses words: dense, activation, norm, and the embeddings. */
export function maskedHead(
  config: ConfigReader,
  tensors: Tensors,
  head: MaskedHead,
): HeadDescription | false {
  const { dense, norm, decoder, table, width, settings } = head;
  const tied = config.boolean('tie_word_embeddings', true);
  if (!tensors.has(`${dense}.weight`)) return false;
  const [rows, channels] = table.shape as [number, number];
  const bias = [head.bias, `${decoder}.bias`].find((each) => each && tensors.has(each));
  const weight = tied ? table : tensors.source(`${decoder}.weight`, rows, channels);
  return {
    name: 'logits',
    of: 'tokens',
    steps: [
      matrixStep(tensors.matrix(dense, width, channels), settings.activation),
      { kind: 'norm', norm: tensors.layerNorm(norm, channels, settings.epsilon) },
      matrixStep(matrixOf(weight, tensors.source(bias ?? head.bias ?? `${decoder}.bias`, rows))),
    ],
  };
}

/** Guessed words beside what is said of a pair of texts; where a model has been trained for one of them only, that is its logits. */
function pretrainingHeads(
  config: ConfigReader,
  words: HeadDescription | false,
  pair: HeadDescription | false,
): HeadDescription[] {
  const both = !architectureOf(config).endsWith('MaskedLM');
  return present(
    words && { ...words, name: pair && both ? 'predictionLogits' : 'logits' },
    pair && { ...pair, name: words ? 'seqRelationshipLogits' : 'logits' },
  );
}

/** The heads of BERT, which ALBERT has by other names: pooler, guessed words, a pair of texts, classifiers. */
export function bertHeads(
  config: ConfigReader,
  { tensors, root, table }: HeadTensors,
  settings: BlockSettings,
  names: { readonly pooler: string; readonly words: string; readonly dense: string; readonly pair: string },
): HeadDescription[] {
  const { embedDim } = settings.sizes;
  const pooler = poolerHead(tensors, names.pooler, embedDim);
  const pooled = pooler ? ({ head: 'poolerOutput' } as const) : 'tokens';
  const words = maskedHead(config, root, {
    dense: `${names.words}.${names.dense}dense`,
    norm: `${names.words}.${names.dense}LayerNorm`,
    decoder: `${names.words}.decoder`,
    bias: `${names.words}.bias`,
    table,
    width: embedDim,
    settings,
  });
  return [
    ...present(pooler),
    ...pretrainingHeads(config, words, logitsHead(root, names.pair, pooled, embedDim)),
    ...classifierHeads(config, root, embedDim, pooled),
  ];
}

/** The heads of RoBERTa, which MPNet has too. */
export function robertaHeads(
  config: ConfigReader,
  { tensors, root, table }: HeadTensors,
  { sizes: { embedDim }, epsilon }: BlockSettings,
): HeadDescription[] {
  return [
    ...present(
      poolerHead(tensors, 'pooler.dense', embedDim),
      maskedHead(config, root, {
        dense: 'lm_head.dense',
        norm: 'lm_head.layer_norm',
        decoder: 'lm_head.decoder',
        bias: 'lm_head.bias',
        table,
        width: embedDim,
        // Whatever the blocks have.
        settings: { epsilon, activation: 'gelu' },
      }),
      twoStepClassifier(root, 'classifier', 'first', embedDim),
    ),
    ...classifierHeads(config, root, embedDim, 'tokens'),
  ];
}

/** BERT's modules of a block, which RoBERTa has too. */
export const BERT_BLOCK: BlockNames = {
  attention: ['attention.self.query', 'attention.self.key', 'attention.self.value', 'attention.output.dense'],
  attentionNorm: 'attention.output.LayerNorm',
  feedForward: ['intermediate.dense', 'output.dense'],
  feedForwardNorm: 'output.LayerNorm',
};
