// A dense boolean mask as a value, so that it can be combined with others. Passed to an operation on its own, a dense
// mask needs none of this: the kernels read it where it lies.

import { kindOf } from '../runtime/elements.js';
import { dataTypeError, describe, shapeError } from '../runtime/errors.js';
import { contiguousStrides, readShape, sizeOf } from '../runtime/layout.js';
import { Mask, recorded } from './mask.js';
import type { MaskContext } from './mask.js';

class DenseMask extends Mask {
  readonly perBatch: boolean;
  readonly perHead: boolean;
  readonly data: Uint8Array;
  readonly shape: readonly number[];
  readonly #strides: readonly number[];

  constructor(data: Uint8Array, shape: readonly number[]) {
    super();
    this.data = data;
    this.shape = shape;
    const padded = [...new Array<number>(4 - shape.length).fill(1), ...shape];
    const strides = contiguousStrides(padded).map((stride, axis) => (padded[axis] === 1 ? 0 : stride));
    this.#strides = strides;
    this.perBatch = padded[0]! > 1;
    this.perHead = padded[1]! > 1;
  }

  override check({ batch, heads, queries, keys }: MaskContext): void {
    const target = [batch, heads, queries, keys].slice(4 - this.shape.length);
    if (this.shape.every((length, axis) => length === 1 || length === target[axis])) return;
    throw shapeError(
      'mask',
      `a shape that broadcasts to ${describe([batch, heads, queries, keys])}`,
      this.shape,
    );
  }

  keeps(_context: MaskContext, batch: number, head: number, query: number, key: number): boolean {
    const [b, h, i, j] = this.#strides as [number, number, number, number];
    return this.data[batch * b + head * h + query * i + key * j] !== 0;
  }
}

/**
 * A dense boolean mask, true attends, to be combined by `and` and `or`.
 *
 * @param data  booleans or bytes in order of the shape
 * @param shape broadcasts from the right to [batch, heads, queries, keys]
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE
 *
 * @example
 * ```js
 * const keepsAllButTheLastKey = denseMask([true, true, true, true, false], [1, 5]); // the same for every query
 * scaledDotProductAttention(q, k, v, { mask: and(causal(), keepsAllButTheLastKey) });
 * ```
 */
export function denseMask(data: readonly boolean[] | Uint8Array, shape: readonly number[]): Mask {
  const isList: boolean = kindOf(data) === 'Uint8Array' || Array.isArray(data);
  if (!isList) {
    throw dataTypeError('denseMask.data', 'a Uint8Array or an array of booleans', data);
  }
  const sizes = readShape('denseMask.shape', shape);
  if (shape.length > 4 || sizeOf(sizes) !== data.length) {
    throw shapeError('denseMask.shape', `at most 4 axes and ${data.length} elements`, shape);
  }
  const bytes = Uint8Array.from(data as ArrayLike<boolean | number> as ArrayLike<number>, Number);
  return recorded(new DenseMask(bytes, sizes), 'denseMask', bytes, sizes);
}
