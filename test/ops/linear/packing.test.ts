// Pieces of checkpoints: in any order and cut, they make the weights that packing the whole matrix makes, and come back.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { LinearWeights } from '../../../src/ops/linear/linear.js';
import {
  ELEMENT_BYTES,
  narrowElements,
  packPiece,
  unpackPiece,
  widenElements,
} from '../../../src/ops/linear/packing.js';
import type { ElementType } from '../../../src/ops/linear/packing.js';
import { floatsOfHalves } from '../../../src/math/half.js';
import { runInScope } from '../../../src/runtime/call.js';
import { Random } from '../../reference/random.js';
import { eachInternalBuild } from '../../support/internals.js';

const types = ['F32', 'F16', 'BF16'] as const;

/** Random elements, and what they are as floats. */
function elements(random: Random, type: ElementType, count: number) {
  const floats = random.array(count, 'normal');
  const words = new Uint32Array(floats.buffer);
  if (type === 'F32') return { bytes: new Uint8Array(floats.buffer), floats };
  if (type === 'BF16') {
    const halves = Uint16Array.from(words, (word) => word >>> 16);
    const widened = new Float32Array(Uint32Array.from(halves, (half) => half << 16).buffer);
    return { bytes: new Uint8Array(halves.buffer), floats: widened };
  }
  const halves = Uint16Array.from(words, (word) => (word & 0x8000) | ((word >>> 8) % 0x7c00));
  return { bytes: new Uint8Array(halves.buffer), floats: floatsOfHalves(halves) };
}

/** Cuts [0, length) at random places. */
function cuts(random: Random, length: number): [from: number, to: number][] {
  const places = new Set([0, length]);
  for (let i = 0; i < 3; i++) places.add(Math.floor(random.uniform() * length));
  const sorted = [...places].sort((a, b) => a - b);
  return sorted.slice(1).map((to, i) => [sorted[i]!, to]);
}

function transposed(data: Float32Array, rows: number, columns: number): Float32Array {
  return data.map((_, i) => data[(i % rows) * columns + Math.floor(i / rows)]!);
}

await eachInternalBuild('packing', (runtime) => {
  const side = fc.integer({ min: 1, max: 75 });

  it('makes the same weights piece by piece, and reads the pieces back', () => {
    fc.assert(
      fc.property(
        side,
        side,
        fc.constantFrom(...types),
        fc.boolean(),
        fc.integer(),
        (n, k, dtype, across, seed) => {
          const random = new Random(seed);
          const { bytes, floats } = elements(random, dtype, n * k);
          const [rows, columns] = across ? [k, n] : [n, k];
          const data = across ? transposed(floats, k, n) : floats;
          const expected = new LinearWeights(runtime, { data, shape: [n, k] });
          const weights = LinearWeights.reserve(runtime, n, k);
          // What reserve leaves as it is must be written by the pieces.
          weights.packed.data.fill(7, 0, Math.floor(n / 8) * 8 * k);
          const size = ELEMENT_BYTES[dtype];
          const { used } = runtime.memory;
          const pieces = cuts(random, rows).flatMap((vertical) =>
            cuts(random, columns).map((horizontal) => [vertical, horizontal] as const),
          );
          runInScope(runtime, (scope) => {
            // At an odd address, as files have them.
            const address = scope.allocate(bytes.length + 1) + 1;
            const memory = () => new Uint8Array(runtime.linearMemory.buffer, address, bytes.length);
            memory().set(bytes);
            const place = ([[top, bottom], [left, right]]: (typeof pieces)[number]) => ({
              address: address + (top * columns + left) * size,
              dtype,
              transposed: across,
              rowBytes: columns * size,
              ...(across
                ? { firstIn: top, ins: bottom - top, firstOut: left, outs: right - left }
                : { firstOut: top, outs: bottom - top, firstIn: left, ins: right - left }),
            });
            for (const piece of [...pieces].reverse()) packPiece(scope, weights, place(piece));
            expect(weights.packed.data).toEqual(expected.packed.data);
            memory().fill(0x55);
            for (const piece of pieces) unpackPiece(scope, weights, place(piece));
            expect(memory()).toEqual(bytes);
          });
          expect(runtime.memory.used).toBe(used);
          expected.dispose();
          weights.dispose();
        },
      ),
      { numRuns: 100 },
    );
  });

  it('reserves weights whose biases and filling are zero', () => {
    const weights = LinearWeights.reserve(runtime, 11, 3);
    expect([weights.outFeatures, weights.inFeatures, weights.packed.size]).toEqual([11, 3, 16 * 3 + 16]);
    expect(Array.from(weights.packed.data.subarray(24)).every((value) => value === 0)).toBe(true);
    weights.dispose();
  });

  it('widens every half float and every bfloat16 exactly, and narrows them to what they were', () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const brains = new Float32Array(Uint32Array.from(all, (bits) => bits << 16).buffer);
    for (const [dtype, expected] of [
      ['F16', floatsOfHalves(all)],
      ['BF16', brains],
    ] as const) {
      // prettier-ignore
      runInScope(runtime, (scope) => {
        const source = scope.allocate(all.length * 2);
        const floats = scope.allocate(all.length * 4);
        const back = scope.allocate(all.length * 2);
        const { buffer } = runtime.linearMemory;
        new Uint16Array(buffer, source, all.length).set(all);
        widenElements(scope, source, dtype, all.length, floats);
        const widened = new Float32Array(buffer, floats, all.length);
        const wrong = all.filter((_, i) => !Object.is(widened[i], expected[i]));
        expect(wrong).toEqual(new Uint16Array());
        narrowElements(scope, floats, dtype, all.length, back);
        const narrowed = new Uint16Array(buffer, back, all.length);
        // NaN stays NaN.
        expect(all.filter((bits, i) => narrowed[i] !== bits && !Number.isNaN(expected[i]!))).toEqual(new Uint16Array());
        expect(all.filter((_, i) => Number.isNaN(expected[i]!)).every((bits) => isNaN16(dtype, narrowed[bits]!))).toBe(true);
      });
    }
  });

  it('narrows to the nearest, ties to even, and leaves what lies behind', () => {
    const table: readonly (readonly [ElementType, number, number])[] = [
      ['BF16', 0x3f808000, 0x3f80],
      ['BF16', 0x3f818000, 0x3f82],
      ['BF16', 0x3f808001, 0x3f81],
      ['BF16', 0x7f7fffff, 0x7f80],
      ['BF16', 0xff800001, 0xffc0],
      ['BF16', 0x00000001, 0x0000],
      ['F16', 0x3f801000, 0x3c00],
      ['F16', 0x3f803000, 0x3c02],
      ['F16', 0x477ff000, 0x7c00],
      ['F16', 0x33000000, 0x0000],
      ['F16', 0x33000001, 0x0001],
    ];
    runInScope(runtime, (scope) => {
      const source = scope.allocate(64);
      const target = scope.allocate(64);
      const { buffer } = runtime.linearMemory;
      for (const [dtype, float, expected] of table) {
        for (let count = 1; count <= 9; count++) {
          new Uint32Array(buffer, source, 16).fill(float);
          const narrowed = new Uint16Array(buffer, target, 16).fill(0xaaaa);
          narrowElements(scope, source, dtype, count, target);
          expect(Array.from(narrowed)).toEqual(
            Array.from({ length: 16 }, (_, i) => (i < count ? expected : 0xaaaa)),
          );
          const widened = new Uint32Array(buffer, source, 16).fill(0xaaaaaaaa);
          widenElements(scope, target, dtype, count, source);
          expect(widened.findIndex((word) => word === 0xaaaaaaaa)).toBe(count);
        }
      }
    });
  });
});

function isNaN16(dtype: ElementType, bits: number): boolean {
  return (bits & 0x7fff) > (dtype === 'F16' ? 0x7c00 : 0x7f80);
}
