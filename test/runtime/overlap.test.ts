// Views of one block share an element just where going through all of them finds one.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { shareElements } from '../../src/runtime/overlap.js';
import type { DataType } from '../../src/runtime/elements.js';
import type { Tensor } from '../../src/runtime/tensor.js';

interface View {
  readonly dtype: DataType;
  readonly address: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

const asTensor = (view: View) =>
  ({ ...view, size: view.shape.reduce((a, b) => a * b, 1) }) as unknown as Tensor;

function bytesOf({ dtype, address, shape, strides }: View): Set<number> {
  const width = dtype === 'bool' ? 1 : 4;
  let addresses = [address];
  shape.forEach((length, axis) => {
    addresses = addresses.flatMap((from) =>
      Array.from({ length }, (_, i) => from + i * strides[axis]! * width),
    );
  });
  return new Set(addresses.flatMap((from) => Array.from({ length: width }, (_, i) => from + i)));
}

const dtype = fc.constantFrom<DataType>('float32', 'float32', 'float32', 'bool');
const axis = fc.record({ length: fc.nat(5), stride: fc.integer({ min: 1, max: 40 }) });

/** Any strides, also such as no operation makes. */
const anyView = fc
  .record({ dtype, from: fc.nat(60), axes: fc.array(axis, { maxLength: 4 }) })
  .map(({ dtype, from, axes }) => ({
    dtype,
    address: 1024 + from * 4,
    shape: axes.map(({ length }) => length),
    strides: axes.map(({ stride }) => stride),
  }));

/** Parts of a tensor of 2 x 3 x 5 x 4, in any order of axes. */
const range = (length: number) =>
  fc.tuple(fc.nat(length), fc.nat(length)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
const part = fc
  .record({
    ranges: fc.tuple(range(2), range(3), range(5), range(4)),
    order: fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 }),
  })
  .map(({ ranges, order }): View => {
    const strides = [60, 20, 4, 1];
    const from = ranges.reduce((sum, [begin], axis) => sum + begin * strides[axis]!, 0);
    return {
      dtype: 'float32',
      address: 4096 + 4 * from,
      shape: order.map((axis) => ranges[axis]![1] - ranges[axis]![0]),
      strides: order.map((axis) => strides[axis]!),
    };
  });

it.each([
  ['any strides', anyView],
  ['parts of one tensor', part],
] as const)('as counted byte by byte: %s', (_name, view) => {
  fc.assert(
    fc.property(view as fc.Arbitrary<View>, view as fc.Arbitrary<View>, (a, b) => {
      const bytes = bytesOf(a);
      const expected = [...bytesOf(b)].some((byte) => bytes.has(byte));
      expect(shareElements(asTensor(a), asTensor(b))).toBe(expected);
      expect(shareElements(asTensor(b), asTensor(a))).toBe(expected);
    }),
    { numRuns: 3000 },
  );
});

it('without going through them where rows have the same stride', () => {
  // Heads inside rows of one packed tensor: a million rows each.
  const head = (index: number): View => ({
    dtype: 'float32',
    address: 64 + index * 256,
    shape: [1000, 12, 1000, 64],
    strides: [12 * 128 * 1000, 128, 12 * 128, 1],
  });
  expect(shareElements(asTensor(head(0)), asTensor(head(1)))).toBe(false);
  expect(shareElements(asTensor(head(0)), asTensor(head(2)))).toBe(true);
});
