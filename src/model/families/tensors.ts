// From names in a checkpoint to what a description is made of: sources, matrices, norms. Touch: how prefixes and older names are
// found; which tensors a block has is the families' business.

import type {
  CheckpointNames,
  MatrixDescription,
  NormDescription,
  Source,
  TokenInput,
} from '../description.js';

type LearnedPositions = NonNullable<TokenInput['positions']>;

/** Some of a packed tensor's output features. */
type Rows = Pick<Source, 'from' | 'rows'> & { readonly of: number };

/** What a layer norm has. */
export type NormParts = 'both' | 'weight' | 'none';

/** The tensors under a prefix. */
export class Tensors {
  constructor(
    readonly names: CheckpointNames,
    readonly prefix = '',
  ) {}

  /** Those under one of several prefixes: the first under which there is what to look for, else the first. */
  static find(names: CheckpointNames, prefixes: readonly string[], lookFor: string): Tensors {
    const prefix = prefixes.find((each) => names.has(each + lookFor)) ?? prefixes[0];
    return new Tensors(names, prefix);
  }

  under(prefix: string): Tensors {
    return new Tensors(this.names, this.prefix + prefix);
  }

  has(name: string): boolean {
    return this.names.has(this.prefix + name);
  }

  source(name: string, ...shape: number[]): Source {
    return { name: this.prefix + name, shape };
  }

  /** y = x W^T + b of a module's `weight` and `bias`, or of the rows of a packed one. */
  matrix(
    name: string,
    inFeatures: number,
    outFeatures: number,
    bias = true,
    packed?: Rows,
  ): MatrixDescription {
    const { of: all = outFeatures, ...rows } = packed ?? {};
    const weight = { ...this.source(`${name}.weight`, all, inFeatures), ...rows };
    return matrixOf(weight, bias ? { ...this.source(`${name}.bias`, all), ...rows } : undefined, outFeatures);
  }

  /** A matrix whose number of outputs is the checkpoint's, and that has a bias if it is there. */
  head(name: string, inFeatures: number): MatrixDescription {
    const [outFeatures = 1] = this.names.shape(`${this.prefix}${name}.weight`) ?? [];
    return this.matrix(name, inFeatures, Math.max(outFeatures, 1), this.has(`${name}.bias`));
  }

  /** Norms of old checkpoints are named gamma and beta; some have no bias, or neither. */
  layerNorm(name: string, channels: number, epsilon: number, parts: NormParts = 'both'): NormDescription {
    const [weight, bias] = this.has(`${name}.gamma`) ? ['gamma', 'beta'] : ['weight', 'bias'];
    return {
      kind: 'layer',
      channels,
      epsilon,
      weight: parts === 'none' ? undefined : this.source(`${name}.${weight}`, channels),
      bias: parts === 'both' ? this.source(`${name}.${bias}`, channels) : undefined,
    };
  }

  rmsNorm(name: string, channels: number, epsilon: number, unitOffset?: boolean): NormDescription {
    return { kind: 'rms', channels, epsilon, weight: this.source(`${name}.weight`, channels), unitOffset };
  }
}

/** Learned positions, the first of them in row `offset`. */
export function learnedPositions(
  tensors: Tensors,
  name: string,
  [rows, channels]: readonly [number, number],
  offset = 0,
  count: LearnedPositions['count'] = 'index',
): LearnedPositions {
  return { table: tensors.source(`${name}.weight`, rows, channels), offset, count };
}

/** A matrix of one weight. */
export function matrixOf(weight: Source, bias?: Source, outFeatures = weight.shape[0]!): MatrixDescription {
  return { inFeatures: weight.shape[1]!, outFeatures, parts: [{ weight, bias }] };
}

/** Matrices of the same input, one below the other. */
export function stack(...matrices: readonly MatrixDescription[]): MatrixDescription {
  return {
    inFeatures: matrices[0]!.inFeatures,
    outFeatures: matrices.reduce((sum, { outFeatures }) => sum + outFeatures, 0),
    parts: matrices.flatMap(({ parts }) => parts),
  };
}
