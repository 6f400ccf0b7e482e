// Encoders of text whose blocks have their norms after each sublayer: BERT and those that name or place parts of it differently.
// Touch: what they share; a family's own names are in its file.

import type { ConfigReader } from '../config.js';
import type { HeadDescription, Source, TokenInput } from '../description.js';
import type { BlockSettings, HeadSizes } from './blocks.js';
import { logitsHead, matrixStep, present } from './heads.js';
import { activationOf, architectureOf } from './settings.js';
import { matrixOf } from './tensors.js';
import type { Tensors } from './tensors.js';

/** Settings by BERT's names. */
export function blockSettings(config: ConfigReader, sizes: HeadSizes, epsilon = 1e-12): BlockSettings {
  return {
    sizes,
    inner: config.integer('intermediate_size'),
    epsilon: config.number('layer_norm_eps', epsilon),
    activation: activationOf(config, 'hidden_act', 'gelu'),
  };
}

/** Embeddings by the names that all of these share. */
export function embeddingsOf(
  config: ConfigReader,
  tensors: Tensors,
  channels: number,
  epsilon: number,
  positions: Pick<NonNullable<TokenInput['positions']>, 'offset' | 'count'> = { offset: 0, count: 'index' },
): { readonly input: TokenInput; readonly maxLength: number } {
  const rows = config.integer('max_position_embeddings');
  const hasTypes = tensors.has('token_type_embeddings.weight');
  const types = config.integer('type_vocab_size', hasTypes ? 2 : 0, 0);
  return {
    input: {
      kind: 'tokens',
      table: tensors.source('word_embeddings.weight', config.integer('vocab_size'), channels),
      types: types > 0 ? tensors.source('token_type_embeddings.weight', types, channels) : undefined,
      positions: { table: tensors.source('position_embeddings.weight', rows, channels), ...positions },
      norm: tensors.layerNorm('LayerNorm', channels, epsilon),
    },
    maxLength: rows - positions.offset,
  };
}

export function poolerHead(tensors: Tensors, name: string, width: number): HeadDescription | false {
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
  readonly name?: HeadDescription['name'];
}

/** Guesses words: dense, activation, norm, and the embeddings. */
export function maskedHead(
  config: ConfigReader,
  tensors: Tensors,
  head: MaskedHead,
): HeadDescription | false {
  const { dense, norm, decoder, table, width, settings, name = 'logits' } = head;
  const tied = config.boolean('tie_word_embeddings', true);
  if (!tensors.has(`${dense}.weight`)) return false;
  const [rows, channels] = table.shape as [number, number];
  const bias = [head.bias, `${decoder}.bias`].find((each) => each && tensors.has(each));
  const weight = tied ? table : tensors.source(`${decoder}.weight`, rows, channels);
  return {
    name,
    of: 'tokens',
    steps: [
      matrixStep(tensors.matrix(dense, width, channels), settings.activation),
      { kind: 'norm', norm: tensors.layerNorm(norm, channels, settings.epsilon) },
      matrixStep(matrixOf(weight, tensors.source(bias ?? head.bias ?? `${decoder}.bias`, rows))),
    ],
  };
}
