// Parameters of a model beside their gradients. Gradients lie in memory as the parameters do, so that an update is the same for both,
// element by element: they are reserved by the same descriptions, as parameters of a second model would be.

import type { LinearWeights } from '../ops/linear/linear.js';
import type { Tensor } from '../runtime/tensor.js';
import type { MatrixDescription, Source } from '../model/description.js';
import type { Parameters as Store, Table } from '../model/parameters.js';

/** A matrix and its biases. */
export interface BoundMatrix {
  readonly weights: LinearWeights;
  /** Laid out as the packed weights; undefined where nothing of it is trained. */
  readonly gradient: Tensor<'float32'> | undefined;
}

/** Elements that follow each other. */
export interface BoundVector {
  readonly tensor: Tensor<'float32'>;
  readonly gradient: Tensor<'float32'> | undefined;
}

/** A table of rows. */
export interface BoundTable {
  readonly table: Table;
  readonly gradient: Tensor<'float32'> | undefined;
}

/** Finds parameters that are there, and makes room for the gradients of those that are trained. */
export class Binder {
  readonly #parameters: Store;
  readonly #gradients: Store;
  readonly #frozen: (name: string) => boolean;

  constructor(parameters: Store, gradients: Store, frozen: (name: string) => boolean) {
    this.#parameters = parameters;
    this.#gradients = gradients;
    this.#frozen = frozen;
  }

  #trains(parts: MatrixDescription['parts']): boolean {
    return parts.some(({ weight, bias }) => !this.#frozen(weight.name) || (bias && !this.#frozen(bias.name)));
  }

  matrix(description: MatrixDescription): BoundMatrix {
    const trained = this.#trains(description.parts);
    return {
      weights: this.#parameters.matrix(description),
      gradient: trained ? this.#gradients.matrix(description).packed : undefined,
    };
  }

  /** Weights that lie where somebody else has put them. */
  fill(parts: Parameters<Store['fill']>[0], weights: LinearWeights): BoundMatrix {
    const trained = this.#trains(parts);
    this.#parameters.fill(parts, weights);
    const { inFeatures, outFeatures } = weights;
    return {
      weights,
      gradient: trained ? this.#gradients.fill(parts, { inFeatures, outFeatures }).packed : undefined,
    };
  }

  vector(source: Source): BoundVector;
  vector(source: Source | undefined): BoundVector | undefined;
  vector(source: Source | undefined): BoundVector | undefined {
    if (!source) return undefined;
    return {
      tensor: this.#parameters.vector(source)!,
      gradient: this.#frozen(source.name) ? undefined : this.#gradients.vector(source),
    };
  }

  table(source: Source): BoundTable {
    return {
      table: this.#parameters.table(source),
      gradient: this.#frozen(source.name) ? undefined : this.#gradients.table(source).tensor,
    };
  }
}
