// The allocator under random use: no overlap, no leak, neighbours joined, growth only when needed.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ALIGNMENT, Allocator } from '../../src/runtime/allocator.js';

describe('allocator', () => {
  it('never hands out overlapping blocks, and takes everything back', () => {
    const steps = fc.array(
      fc.record({ free: fc.boolean(), bytes: fc.integer({ min: 0, max: 5000 }), pick: fc.nat() }),
      {
        maxLength: 200,
      },
    );
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 40_000 }), (sequence, limit) => {
        let end = 2048;
        const allocator = new Allocator(100, end, (needed) =>
          needed <= limit ? (end = Math.max(end, needed)) : end,
        );
        const live: { address: number; size: number }[] = [];
        for (const { free, bytes, pick } of sequence) {
          if (free && live.length > 0) {
            const [block] = live.splice(pick % live.length, 1);
            expect(allocator.free(block!.address)).toBe(true);
            expect(allocator.free(block!.address)).toBe(false);
            continue;
          }
          const size = Math.max(1, Math.ceil(bytes / ALIGNMENT)) * ALIGNMENT;
          const address = allocator.allocate(bytes);
          if (address === 0) continue;
          expect(address % ALIGNMENT).toBe(0);
          expect(address).toBeGreaterThanOrEqual(100);
          expect(address + size).toBeLessThanOrEqual(end);
          for (const other of live) {
            expect(address + size <= other.address || other.address + other.size <= address).toBe(true);
          }
          live.push({ address, size });
          const used = live.reduce((sum, block) => sum + block.size, 0);
          expect(allocator.statistics.used).toBe(used);
          expect(allocator.statistics.peak).toBeGreaterThanOrEqual(used);
        }
        for (const block of live) allocator.free(block.address);
        expect(allocator.statistics.used).toBe(0);
        expect(allocator.blocks).toBe(0);
        // All of it is one part again.
        const whole = Math.floor(end / ALIGNMENT) * ALIGNMENT - 128;
        expect(allocator.allocate(whole)).toBe(128);
      }),
      { numRuns: 200 },
    );
  });

  it('says no where growth is refused, and goes on', () => {
    const allocator = new Allocator(64, 1024, () => 1024);
    expect(allocator.allocate(2000)).toBe(0);
    expect(allocator.allocate(960)).toBe(64);
    expect(allocator.allocate(1)).toBe(0);
  });
});
