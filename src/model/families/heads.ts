// Heads: what a checkpoint has decides which there are. Touch: kinds of heads that several families have.

import type { ConfigReader } from '../config.js';
import type {
  ActivationName,
  HeadDescription,
  HeadInput,
  HeadStep,
  MatrixDescription,
  Source,
} from '../description.js';
import { architectureOf } from './settings.js';
import { matrixOf } from './tensors.js';
import type { Tensors } from './tensors.js';

export function matrixStep(matrix: MatrixDescription, activation?: ActivationName): HeadStep {
  return { kind: 'matrix', matrix, ...(activation && { activation }) };
}

/** Heads that a checkpoint has of its own: those whose first tensor is there. */
export function present(...heads: readonly (HeadDescription | false)[]): HeadDescription[] {
  return heads.filter((head) => head !== false);
}

/** One matrix from some rows to the logits, if the checkpoint has it. */
export function logitsHead(
  tensors: Tensors,
  name: string,
  of: HeadDescription['of'],
  inFeatures: number,
): HeadDescription | false {
  return (
    tensors.has(`${name}.weight`) && {
      name: 'logits',
      of,
      steps: [matrixStep(tensors.head(name, inFeatures))],
    }
  );
}

/** dense, tanh, out_proj: a classifier of BART's kind, or RoBERTa's. */
export function twoStepClassifier(
  tensors: Tensors,
  name: string,
  of: HeadDescription['of'],
  width: number,
  endTokenId?: number,
): HeadDescription | false {
  const steps = (): readonly HeadStep[] => [
    matrixStep(tensors.matrix(`${name}.dense`, width, width), 'tanh'),
    matrixStep(tensors.head(`${name}.out_proj`, width)),
  ];
  return tensors.has(`${name}.out_proj.weight`) && { name: 'logits', of, endTokenId, steps: steps() };
}

interface LanguageHead extends Pick<HeadDescription, 'factor' | 'softcap'> {
  /** The head's module. */
  readonly name: string;
  /** The embeddings, which are its weight where they are tied. */
  readonly table: Source;
  readonly tied: boolean;
  readonly bias?: boolean;
}

/** Heads of decoders: a classifier or a question answerer if the checkpoint has one, else the language model's. */
export function decoderHeads(
  config: ConfigReader,
  tensors: Tensors,
  { name, table, tied, bias = false, ...more }: LanguageHead,
): HeadDescription[] {
  const width = table.shape[1]!;
  const architecture = architectureOf(config);
  const scored: HeadInput =
    architecture.endsWith('ForTokenClassification') || tensors.has('score.bias') ? 'tokens' : 'last';
  const others = present(
    logitsHead(tensors, 'score', scored, width),
    logitsHead(tensors, 'classifier', 'tokens', width),
    logitsHead(tensors, 'qa_outputs', 'tokens', width),
  );
  const isThere =
    tied || tensors.has(`${name}.weight`) || /For(CausalLM|ConditionalGeneration)$/.test(architecture);
  if (others.length > 0 || !isThere) return others;
  const weight = tied ? table : tensors.source(`${name}.weight`, ...table.shape);
  const biasSource = bias ? tensors.source(`${name}.bias`, table.shape[0]!) : undefined;
  return [{ name: 'logits', of: 'tokens', steps: [matrixStep(matrixOf(weight, biasSource))], ...more }];
}

/** Names under which what is tied may be stored once more. The embeddings are read, not these. */
export function tiedCopies(tied: boolean, ...names: readonly string[]): RegExp[] {
  return tied ? names.map((name) => new RegExp(`^${name.replaceAll('.', '\\.')}$`)) : [];
}
