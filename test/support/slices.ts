// How an asynchronous call divides its work.

import { vi } from 'vitest';
import type { AsyncOptions, Progress } from 'wasm-attention';

/**
 * The largest part of a call's work that is done between two turns of the event loop, from 0 to 1, on a clock on which
 * everything takes longer than a slice.
 */
export async function largestSlice(call: (options: AsyncOptions) => Promise<unknown>): Promise<number> {
  let time = performance.now();
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => (time += 7));
  const told: Progress[] = [];
  try {
    await call({ onProgress: (progress) => told.push(progress) });
  } finally {
    clock.mockRestore();
  }
  return Math.max(...told.map(({ done, total }, i) => (done - (told[i - 1]?.done ?? 0)) / total));
}
