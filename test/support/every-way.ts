// The ways in which a call can run, which give the same bits: at once, tile by tile between turns of the event loop, and on threads.

import { expect, vi } from 'vitest';
import { callAsync, callNow } from '../../src/runtime/call.js';
import type { CallScope } from '../../src/runtime/call-scope.js';
import type { Operation } from '../../src/runtime/operation.js';
import type { Build, Runtime, Tensor } from '../../src/slim.js';
import { internalRuntime, threadedInternalRuntime } from './internals.js';

/** What makes tensors in a scope; must not depend on anything but its arguments. */
type Body = (scope: CallScope, runtime: Runtime) => readonly Tensor[];

export interface Ways {
  /** Bytes of what the body makes, after all ways were found to make the same. */
  same(body: Body): Promise<Uint8Array[]>;
  dispose(): void;
}

/** The ways of a build: one thread, two and three. */
export async function everyWay(build: Build): Promise<Ways> {
  const alone = await internalRuntime(build);
  const threaded = await Promise.all([2, 3].map((count) => threadedInternalRuntime(build, count)));
  return {
    async same(body) {
      const forms = (runtime: Runtime): Operation<[], { runtime: Runtime }, readonly Tensor[]> => ({
        inputs: [],
        options: { runtime: 1 },
        run: (scope) => body(scope, runtime),
      });
      const bytes = (made: readonly Tensor[]) =>
        made.map((tensor) => {
          const { buffer, byteOffset, byteLength } = tensor.data;
          const copy = new Uint8Array(buffer, byteOffset, byteLength).slice();
          tensor.dispose();
          return copy;
        });
      const now = (runtime: Runtime) => bytes(callNow(forms(runtime), [], { runtime }));
      const expected = now(alone);
      expect(bytes(await inSlices(() => callAsync(forms(alone), [], { runtime: alone })))).toEqual(expected);
      for (const runtime of threaded) expect(now(runtime)).toEqual(expected);
      return expected;
    },
    dispose() {
      for (const runtime of [alone, ...threaded]) runtime.dispose();
    },
  };
}

/** On a clock on which everything takes far longer than a slice, so that each tile has one of its own. */
async function inSlices<Result>(call: () => Promise<Result>): Promise<Result> {
  let time = performance.now();
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => (time += 1e6));
  try {
    await call();
    return await call();
  } finally {
    clock.mockRestore();
  }
}
