// What a ring holds and what it says no to: every number of queries and every length to crop to, against a cache that forgets
// nothing and has the ring as a mask.

import { describe, expect, it } from 'vitest';
import { createRuntime, KeyValueCache } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import { Random } from '../reference/random.js';

const [HEADS, DIM] = [2, 4];

interface Sizes {
  readonly sinkTokens: number;
  readonly window: number;
}

const tensor = (random: Random, batch: number, heads: number, length: number) => ({
  data: random.array(batch * heads * length * DIM, 'normal'),
  shape: [batch, heads, length, DIM],
});

/** A ring and a cache of everything, with the same tokens. */
class Twins {
  readonly random = new Random(3);
  readonly ring: KeyValueCache;
  readonly whole: KeyValueCache;
  readonly sizes: Sizes;

  constructor(runtime: Runtime, sizes: Sizes, batch = 1) {
    const options = { batch, numKeyValueHeads: 1, headDim: DIM, rotary: {} };
    this.sizes = sizes;
    this.ring = new KeyValueCache(runtime, { ...options, ring: sizes });
    this.whole = new KeyValueCache(runtime, options);
  }

  append(length: number, lengths?: readonly number[]): void {
    const batch = this.ring.lengths().length;
    const [keys, values] = [tensor(this.random, batch, 1, length), tensor(this.random, batch, 1, length)];
    for (const cache of [this.ring, this.whole]) cache.append(0, keys, values, { lengths });
  }

  /** Throws what the ring throws; else the largest difference between the two. */
  difference(queries: number): number {
    const batch = this.ring.lengths().length;
    const query = tensor(this.random, batch, HEADS, queries);
    const actual = this.ring.attend(0, query);
    const lengths = this.whole.lengths();
    const keys = Math.max(...lengths);
    const { sinkTokens, window } = this.sizes;
    const data = Uint8Array.from({ length: batch * queries * keys }, (_, at) => {
      const [row, i, j] = [Math.floor(at / (queries * keys)), Math.floor(at / keys) % queries, at % keys];
      return j < sinkTokens || j > lengths[row]! - queries + i - window ? 1 : 0;
    });
    const expected = this.whole.attend(0, query, { mask: { data, shape: [batch, 1, queries, keys] } });
    const truth = expected.output.toFloat32Array();
    const most = actual.output
      .toFloat32Array()
      .reduce((largest, x, at) => Math.max(largest, Math.abs(x - truth[at]!)), 0);
    actual.dispose();
    expected.dispose();
    return most;
  }

  /** What the ring still has of a row, from the header of a snapshot. */
  holds(row = 0): (token: number) => boolean {
    const snapshot = this.ring.snapshot();
    const header = new TextDecoder().decode(
      snapshot.subarray(12, 12 + new DataView(snapshot.buffer).getUint32(8, true)),
    );
    const { length, dropped } = (JSON.parse(header) as { sequences: { length: number; dropped: number }[][] })
      .sequences[0]![row]!;
    const first = Math.ceil(this.sizes.sinkTokens / 128) * 128;
    return (token) => token < length && (token < first || token >= first + dropped * 128);
  }

  /** Whether the tokens that a query at `position` sees, itself excepted, are all held. */
  sees(position: number, holds: (token: number) => boolean): boolean {
    const { sinkTokens, window } = this.sizes;
    for (let token = 0; token < position; token++) {
      if ((token < sinkTokens || token > position - window) && !holds(token)) return false;
    }
    return true;
  }

  dispose(): void {
    this.ring.dispose();
    this.whole.dispose();
  }
}

describe('a ring', async () => {
  const runtime = await createRuntime();
  const sizes: Sizes[] = [
    { sinkTokens: 0, window: 1 },
    { sinkTokens: 0, window: 5 },
    { sinkTokens: 3, window: 5 },
    { sinkTokens: 128, window: 1 },
    { sinkTokens: 130, window: 40 },
    { sinkTokens: 1, window: 200 },
  ];

  it.each(sizes)('attends with all that queries see, or says what it holds: %j', (ring: Sizes) => {
    const twins = new Twins(runtime, ring);
    for (const length of [200, 5, 300, 1, 128]) {
      twins.append(length);
      const [total] = twins.ring.lengths() as [number];
      const holds = twins.holds();
      let refused = 0;
      for (let queries = 1; queries <= total; queries += queries < 20 ? 1 : 17) {
        const fine = Array.from({ length: queries }, (_, i) => total - 1 - i).every(
          (position) => holds(position) && twins.sees(position, holds),
        );
        if (fine) {
          expect(twins.difference(queries)).toBeLessThan(1e-5);
          continue;
        }
        refused++;
        expect(() => twins.difference(queries)).toThrow(
          expect.objectContaining({ code: 'INVALID_STATE', argument: 'query' }),
        );
      }
      if (total > 600) expect(refused).toBeGreaterThan(0);
    }
    twins.dispose();
  });

  it('names the row and what it holds of it', () => {
    const twins = new Twins(runtime, { sinkTokens: 0, window: 5 }, 2);
    twins.append(200, [200, 0]);
    twins.append(90, [5, 90]);
    expect(() => twins.difference(90)).toThrow(
      'query: expected at most the last 73 tokens of row 0, because the ring no longer holds tokens 0 to 127, got 90 queries',
    );
    expect(twins.difference(73)).toBeLessThan(1e-5);
    twins.dispose();
  });

  it.each(sizes)(
    'crops to where the next query finds its window, and goes on as if never longer: %j',
    (ring: Sizes) => {
      const twins = new Twins(runtime, ring);
      for (const length of [200, 5, 300, 1, 128]) twins.append(length);
      const [total] = twins.ring.lengths() as [number];
      const holds = twins.holds();
      let [cropped, refused] = [0, 0];
      for (let length = 0; length < total; length += length < 10 ? 1 : 3) {
        const fork = new Twins(runtime, ring);
        fork.ring.restore(twins.ring.snapshot());
        fork.whole.restore(twins.whole.snapshot());
        const fine = twins.sees(length, holds) && (length === 0 || holds(length - 1) || holds(length));
        if (fine) {
          cropped++;
          fork.ring.crop(length);
          fork.whole.crop(length);
          fork.append(140);
          expect(fork.difference(140), `after a crop to ${length}`).toBeLessThan(1e-5);
          fork.append(3);
          expect(fork.difference(3)).toBeLessThan(1e-5);
        } else {
          refused++;
          expect(() => fork.ring.crop(length), `a crop to ${length}`).toThrow(
            expect.objectContaining({ code: 'INVALID_STATE', argument: 'length' }),
          );
          expect(fork.ring.lengths()).toEqual([total]);
        }
        fork.dispose();
      }
      expect(Math.min(cropped, refused)).toBeGreaterThan(0);
      twins.dispose();
    },
  );
});
