// Shapes and strides.

import { kindOf } from './elements.js';
import { shapeError } from './errors.js';

/** Product of a shape's sizes. */
export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (let axis = 0; axis < shape.length; axis++) size *= shape[axis]!; // engines iterate over frozen arrays slowly
  return size;
}

/** Strides, in elements, of a contiguous tensor. */
export function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis]!;
  }
  return strides;
}

/** Whether two shapes have the same axes. */
export function sameShape(shape: readonly number[], other: readonly number[]): boolean {
  if (shape.length !== other.length) return false;
  for (let axis = 0; axis < shape.length; axis++) if (shape[axis] !== other[axis]) return false;
  return true;
}

/** A shape and its contiguous strides; those of tensors that callers see are frozen, so that none can be moved over its neighbours. */
export interface Layout {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** The last layouts asked for: programs use few, and to find one takes a fraction of the time of freezing it. */
const layouts: Layout[] = [];
const MOST_LAYOUTS = 16;
let oldestLayout = 0;

export function layoutOf(shape: readonly number[]): Layout {
  for (const layout of layouts) if (sameShape(layout.shape, shape)) return layout;
  const layout = { shape: Object.freeze([...shape]), strides: Object.freeze(contiguousStrides(shape)) };
  layouts[oldestLayout] = layout;
  oldestLayout = (oldestLayout + 1) % MOST_LAYOUTS;
  return layout;
}

/** For tensors that no caller sees. */
export function plainLayout(shape: readonly number[]): Layout {
  return { shape, strides: contiguousStrides(shape) };
}

/** More axes, or longer ones, could have a number of elements that is not finite. */
const MOST_AXES = 30;
const LONGEST_AXIS = 2 ** 32;

/** A shape that comes from outside, checked and copied. */
export function readShape(argument: string, shape: unknown): readonly number[] {
  const isTyped = kindOf(shape).endsWith('Array');
  const sizes: unknown[] = Array.isArray(shape)
    ? shape.slice()
    : isTyped
      ? Array.from(shape as number[])
      : [-1];
  let valid = sizes.length <= MOST_AXES;
  for (let axis = 0; axis < sizes.length; axis++) {
    const size = sizes[axis] as number;
    valid &&= Number.isInteger(size) && size >= 0 && size <= LONGEST_AXIS;
  }
  if (valid) return sizes as number[];
  throw shapeError(argument, `a list of at most ${MOST_AXES} integers >= 0`, shape);
}
