// How an asynchronous call divides its work.

import { vi } from 'vitest';
import type { AsyncOptions, Runtime } from 'wasm-attention';

/**
 * How often each kernel is called by an asynchronous call, on a clock on which everything takes far longer than a slice: a kernel
 * that runs over tiles is called once for each of them, and the event loop turns between. The call is made twice, because how
 * fast kernels are is learnt.
 */
export async function kernelCalls(
  runtime: Runtime,
  call: (options: AsyncOptions) => Promise<unknown>,
): Promise<Record<string, number>> {
  const kernels = runtime.kernels as unknown as Record<string, (...args: number[]) => unknown>;
  const own = { ...kernels };
  const calls: Record<string, number> = {};
  let time = performance.now();
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => (time += 1e6));
  try {
    await call({});
    for (const [name, kernel] of Object.entries(own)) {
      if (typeof kernel !== 'function') continue;
      kernels[name] = (...args) => {
        calls[name] = (calls[name] ?? 0) + 1;
        return kernel(...args);
      };
    }
    await call({});
  } finally {
    clock.mockRestore();
    Object.assign(kernels, own);
  }
  return calls;
}
