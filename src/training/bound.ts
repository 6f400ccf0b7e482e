// Parameters of a model beside their gradients. Gradients lie in memory as the parameters do, so that an update is the same for both,
// element by element: they are reserved by the same descriptions, as parameters of a second model would be.

import type { LinearWeights } from '../ops/linear/linear.js';
import type { Tensor } from '../runtime/tensor.js';
import type { MatrixDescription, Source } from '../model/description.js';
import { placedParts, rowsOfSource } from '../model/parameters.js';
import type { Parameters as Store, Table } from '../model/parameters.js';
import { LowRankAdapter } from './adapters.js';
import type { AdapterOptions } from './adapters.js';

/** A matrix and its biases. */
export interface BoundMatrix {
  readonly weights: LinearWeights;
  /** Laid out as the packed weights; undefined where nothing of it is trained. */
  readonly gradient: Tensor<'float32'> | undefined;
  /** Adapters of some of its rows. */
  readonly adapters: readonly BoundAdapter[];
}

/** An adapter of a layer whose first output feature is one of a matrix. */
export interface BoundAdapter {
  readonly adapter: LowRankAdapter;
  readonly weights: LinearWeights;
  readonly firstOut: number;
}

/** Which layers have adapters, and of which kind. */
export interface Adapting extends AdapterOptions {
  readonly matches: (name: string) => boolean;
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

  /** Adapters by the names of the weights that they stand beside. */
  readonly adapters = new Map<string, BoundAdapter>();
  readonly #adapting: Adapting | undefined;
  #sites = 0;

  constructor(parameters: Store, gradients: Store, frozen: (name: string) => boolean, adapting?: Adapting) {
    this.#parameters = parameters;
    this.#gradients = gradients;
    this.#frozen = frozen;
    this.#adapting = adapting;
  }

  /** A number for each place where elements may be left out. */
  site(): number {
    return this.#sites++;
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
    return {
      weights,
      gradient: this.#pair(weights.packed, gradient),
      adapters: this.#adapt(placedParts(description), weights),
    };
  }

  /** Weights that lie where somebody else has put them. */
  fill(parts: Parameters<Store['fill']>[0], weights: LinearWeights): BoundMatrix {
    this.#parameters.fill(parts, weights);
    const { inFeatures, outFeatures } = weights;
    const gradient = this.#trains(parts) && this.#gradients.fill(parts, { inFeatures, outFeatures }).packed;
    return { weights, gradient: this.#pair(weights.packed, gradient), adapters: this.#adapt(parts, weights) };
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

  #adapt(
    parts: readonly (MatrixDescription['parts'][number] & { readonly firstOut: number })[],
    weights: LinearWeights,
  ): BoundAdapter[] {
    const { matches, ...options } = this.#adapting ?? {};
    return parts.flatMap(({ weight, firstOut }): BoundAdapter | [] => {
      if (!matches?.(weight.name)) return [];
      const known = this.adapters.get(weight.name);
      if (known) return known;
      const name = weight.name.replace(/\.weight$/, '');
      const sizes = { inFeatures: weights.inFeatures, outFeatures: rowsOfSource(weight) };
      const { runtime } = this.#parameters;
      const adapter = new LowRankAdapter(runtime, name, sizes, options as AdapterOptions, this.adapters.size);
      const made = { adapter, weights, firstOut };
      this.adapters.set(weight.name, made);
      return made;
    });
  }

  #pair(tensor: Tensor<'float32'>, gradient: Tensor<'float32'> | false): Tensor<'float32'> | undefined {
    if (!gradient) return undefined;
    this.pairs.set(gradient, tensor);
    return gradient;
  }
}
