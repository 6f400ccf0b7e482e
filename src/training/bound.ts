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
  /** Tensors of parameters by those of their gradients. */
  readonly pairs = new Map<Tensor<'float32'>, Tensor<'float32'>>();

  constructor(parameters: Store, gradients: Store, frozen: (name: string) => boolean) {
    this.#parameters = parameters;
    this.#gradients = gradients;
    this.#frozen = frozen;
  }

  /** Whether a tensor is trained. */
  learns({ name, fixed = false }: Source): boolean {
    return !fixed && !this.#frozen(name);
  }

  #trains(parts: MatrixDescription['parts']): boolean {
    return parts.some(({ weight, bias }) => this.learns(weight) || (bias && this.learns(bias)));
  }

  matrix(description: MatrixDescription): BoundMatrix {
    const weights = this.#parameters.matrix(description);
    const gradient = this.#trains(description.parts) && this.#gradients.matrix(description).packed;
    return { weights, gradient: this.#pair(weights.packed, gradient) };
  }

  /** Weights that lie where somebody else has put them. */
  fill(parts: Parameters<Store['fill']>[0], weights: LinearWeights): BoundMatrix {
    this.#parameters.fill(parts, weights);
    const { inFeatures, outFeatures } = weights;
    const gradient = this.#trains(parts) && this.#gradients.fill(parts, { inFeatures, outFeatures }).packed;
    return { weights, gradient: this.#pair(weights.packed, gradient) };
  }

  vector(source: Source): BoundVector;
  vector(source: Source | undefined): BoundVector | undefined;
  vector(source: Source | undefined): BoundVector | undefined {
    if (!source) return undefined;
    const tensor = this.#parameters.vector(source)!;
    const gradient = this.learns(source) && this.#gradients.vector(source)!;
    return { tensor, gradient: this.#pair(tensor, gradient) };
  }

  table(source: Source): BoundTable {
    const table = this.#parameters.table(source);
    const gradient = this.learns(source) && this.#gradients.table(source).tensor;
    return { table, gradient: this.#pair(table.tensor, gradient) };
  }

  #pair(tensor: Tensor<'float32'>, gradient: Tensor<'float32'> | false): Tensor<'float32'> | undefined {
    if (!gradient) return undefined;
    this.pairs.set(gradient, tensor);
    return gradient;
  }
}
