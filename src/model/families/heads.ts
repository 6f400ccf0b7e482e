// Heads: what a checkpoint has decides which there are. Touch: kinds of heads that several families have.

import type { ActivationName, HeadDescription, HeadStep, MatrixDescription, Source } from '../description.js';
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

/** Names under which what is tied may be stored once more. The embeddings are read, not these. */
export function tiedCopies(tied: boolean, ...names: readonly string[]): RegExp[] {
  return tied ? names.map((name) => new RegExp(`^${name.replaceAll('.', '\\.')}$`)) : [];
}

/**
 * Heads of an encoder and decoder: a classifier or a question answerer if the checkpoint has one, else the language model's.
 *
 * @param language the language model's matrix
 */
export function decodedHeads(
  tensors: Tensors,
  width: number,
  endTokenId: number | undefined,
  language: MatrixDescription,
  factor?: number,
): HeadDescription[] {
  const others = present(
    twoStepClassifier(tensors, 'classification_head', 'lastEnd', width, endTokenId),
    logitsHead(tensors, 'qa_outputs', 'tokens', width),
  );
  return others.length > 0
    ? others
    : [{ name: 'logits', of: 'tokens', steps: [matrixStep(language)], factor }];
}

/** Embeddings of encoder and decoder under their one name, or under another that they were stored by. */
export function sharedTable(tensors: Tensors, vocabulary: number, embedDim: number): Source {
  const stored = SHARED.find((name) => tensors.has(name)) ?? SHARED[0]!;
  return tensors.source(stored, vocabulary, embedDim);
}

const SHARED = ['shared.weight', 'encoder.embed_tokens.weight', 'decoder.embed_tokens.weight'];

/** The other names of those. */
export const SHARED_COPIES = /(^|\.)(en|de)coder\.embed_tokens\.weight$/;
