// Things that live in a worker, as the program outside knows them: by a number, and what was said of them when made.

import type { AttentionSizes, DataType, TensorData } from '../index.js';
import { disposeSymbol } from '../runtime/disposable.js';
import type { CallOptions, Link } from './link.js';

export abstract class WorkerHandle {
  /** @internal */
  readonly link: Link;
  /** @internal */
  readonly number: number;
  #disposed = false;

  /** @internal */
  constructor(link: Link, number: number) {
    this.link = link;
    this.number = number;
  }

  /** True once this or the runtime was disposed, or the worker is gone. */
  get disposed(): boolean {
    return this.#disposed || this.link.ended;
  }

  /** Frees what is in the worker, after the calls made before. Safe to repeat. */
  dispose(): void {
    if (!this.disposed) this.link.release(this.number);
    this.#disposed = true;
  }

  /** What `using` calls: `dispose`. */
  [disposeSymbol](): void {
    this.dispose();
  }
}

/**
 * A tensor in the worker.
 *
 * @typeParam Type kind of the elements, which `read` gives an array of; where it is not known, any
 *
 * @example
 * ```js
 * const tensor = await remote.tensor([1, 2, 3, 4], [2, 2]);
 * await tensor.set([5, 6, 7, 8]);
 * await tensor.read(); // [5, 6, 7, 8]
 * tensor.dispose();
 * ```
 */
export class WorkerTensor<Type extends DataType = DataType> extends WorkerHandle {
  /** Length of each axis; the last one varies fastest. */
  readonly shape: readonly number[];
  /** Kind of the elements. */
  readonly dtype: Type;
  #contents: TensorData<Type> | undefined;

  /** @internal */
  constructor(link: Link, number: number, properties: Record<string, unknown>) {
    super(link, number);
    this.shape = properties['shape'] as readonly number[];
    this.dtype = properties['dtype'] as Type;
    this.#contents = properties['data'] as TensorData<Type> | undefined;
  }

  /** Number of elements. */
  get size(): number {
    return this.shape.reduce((size, length) => size * length, 1);
  }

  /**
   * A copy of the elements, in order of the shape: Float32Array, Int32Array, or Uint8Array for 'bool'. The first time
   * after a call with `read: true` it has come with the result already.
   */
  async read(): Promise<TensorData<Type>> {
    const contents = this.#contents;
    this.#contents = undefined;
    return contents ?? this.link.call<TensorData<Type>>('Tensor.read', this);
  }

  /**
   * Overwrites the elements, given in order of the shape.
   *
   * @param options.transfer gives the array away instead of copying it
   */
  async set(
    values: TensorData | readonly number[] | readonly boolean[],
    options: Pick<CallOptions, 'transfer'> = {},
  ): Promise<this> {
    this.#contents = undefined;
    await this.link.call('Tensor.set', this, { data: values }, options);
    return this;
  }
}

/**
 * An `AttentionRecord` in the worker, returned for `returnRecord`: `attentionWeights`, `attentionEntropy`, `topKeys` and
 * `receivedWeight` take it in place of query and key.
 *
 * @example
 * ```js
 * const { record } = await remote.scaledDotProductAttention(input, input, input, { returnRecord: true });
 * const weights = await remote.attentionWeights(record, { region: { queries: [4, 5] } });
 * weights.shape; // [1, 2, 1, 5]
 * record.dispose();
 * ```
 */
export class WorkerAttentionRecord extends WorkerHandle {
  /** What it was of. */
  readonly sizes: AttentionSizes;

  /** @internal */
  constructor(link: Link, number: number, properties: Record<string, unknown>) {
    super(link, number);
    this.sizes = properties['sizes'] as AttentionSizes;
  }
}
