// Decoders around their blocks: embeddings, tied or own heads, what they are trained for, how generation ends. Touch: what all
// decoders share.

import type { ConfigReader } from '../config.js';
import type {
  CheckpointNames,
  HeadDescription,
  HeadInput,
  SingleDescription,
  Source,
  StackDescription,
  TokenInput,
} from '../description.js';
import { logitsHead, matrixStep, present, tiedCopies } from './heads.js';
import { architectureOf, generationOf } from './settings.js';
import { matrixOf, Tensors } from './tensors.js';

interface Decoder {
  readonly family: string;
  /** Embeddings, which are the head's weight, too, where it is tied. */
  readonly table: Source;
  readonly input?: Omit<TokenInput, 'kind' | 'table'>;
  readonly stack: Omit<StackDescription, 'input'>;
  /** The head's module. Default lm_head. */
  readonly head?: string;
  readonly headBias?: boolean;
  /** Whether the head is tied where the config does not say. */
  readonly tied: boolean;
  readonly softcap?: number | undefined;
  readonly buffers?: readonly RegExp[];
  /** The padding id where the config does not say. */
  readonly paddingId?: number | undefined;
  readonly causal?: boolean;
}

export function decoder(config: ConfigReader, names: CheckpointNames, own: Decoder): SingleDescription {
  const { family, table, input, stack, head = 'lm_head', causal = true, buffers = [] } = own;
  const tied = config.boolean('tie_word_embeddings', own.tied);
  return {
    kind: causal ? 'decoder' : 'encoder',
    family,
    stack: { input: { kind: 'tokens', table, ...input }, ...stack },
    heads: headsOf(config, new Tensors(names), own, head, tied && causal),
    buffers: [...buffers, ...tiedCopies(tied, `${head}.weight`)],
    generation: generationOf(config, own.paddingId),
  };
}

/** A classifier or a question answerer if the checkpoint has one, else the language model's. */
function headsOf(
  config: ConfigReader,
  tensors: Tensors,
  { table, softcap, headBias }: Decoder,
  name: string,
  tied: boolean,
): HeadDescription[] {
  const [vocabulary, width] = table.shape as [number, number];
  const architecture = architectureOf(config);
  const scored: HeadInput =
    architecture.endsWith('ForTokenClassification') || tensors.has('score.bias') ? 'tokens' : 'last';
  const others = present(
    logitsHead(tensors, 'score', scored, width),
    logitsHead(tensors, 'classifier', 'tokens', width),
    logitsHead(tensors, 'qa_outputs', 'tokens', width),
  );
  const isThere = tied || tensors.has(`${name}.weight`) || architecture.endsWith('ForCausalLM');
  if (others.length > 0 || !isThere) return others;
  const weight = tied ? table : tensors.source(`${name}.weight`, vocabulary, width);
  const bias = headBias ? tensors.source(`${name}.bias`, vocabulary) : undefined;
  return [{ name: 'logits', of: 'tokens', steps: [matrixStep(matrixOf(weight, bias))], softcap }];
}
