// Whether strided views have an element in common. Views that lie between each other, such as heads inside rows, share a
// range of addresses and yet nothing else.

import { elementBytes } from './elements.js';
import type { Tensor } from './tensor.js';

/** Runs of `width` bytes, one at each combination of steps. */
interface Runs {
  readonly from: number;
  readonly width: number;
  /** [stride in bytes, steps > 1], the longest stride last. */
  readonly axes: readonly (readonly [stride: number, length: number])[];
}

/** Whether a byte belongs to both tensors. */
export function shareElements(a: Tensor, b: Tensor): boolean {
  return a.size > 0 && b.size > 0 && meet(runsOf(a), runsOf(b));
}

function runsOf({ address, dtype, shape, strides }: Tensor): Runs {
  let width = elementBytes(dtype);
  const bytes = width;
  const axes: [number, number][] = [];
  shape
    .map((length, axis) => [strides[axis]! * bytes, length] as const)
    .sort(([stride], [other]) => stride - other)
    .forEach(([stride, length]) => {
      if (length === 1) return;
      if (axes.length === 0 && stride === width) width *= length;
      else axes.push([stride, length]);
    });
  return { from: address, width, axes };
}

/** Bytes from the first to the last. */
function extent({ width, axes }: Runs): number {
  return axes.reduce((bytes, [stride, length]) => bytes + stride * (length - 1), width);
}

function meet(a: Runs, b: Runs): boolean {
  if (a.from + extent(a) <= b.from || b.from + extent(b) <= a.from) return false;
  const [one, other] = [a.axes.at(-1), b.axes.at(-1)];
  if (!one && !other) return true;
  if (!one || (other && other[0] > one[0])) return meet(b, a);
  // Step by step along the longest stride, only where the ranges meet; where b has the same stride, only the difference
  // of their steps matters.
  const [stride, length] = one;
  const steps = other?.[0] === stride ? other[1] : 1;
  const inner = { ...a, axes: a.axes.slice(0, -1) };
  const rest = steps > 1 ? { ...b, axes: b.axes.slice(0, -1) } : b;
  const first = Math.floor((rest.from - a.from - extent(inner)) / stride) + 1;
  const last = Math.ceil((rest.from + extent(rest) - a.from) / stride) - 1;
  for (let step = Math.max(first, 1 - steps); step <= Math.min(last, length - 1); step++) {
    if (meet({ ...inner, from: a.from + step * stride }, rest)) return true;
  }
  return false;
}
