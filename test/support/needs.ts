// Tests that need more than Node and npm. Where that is missing they are skipped, and `npm test` says which and why.

import { describe, it } from 'vitest';
import { requirements } from './requirements.mjs';

declare module 'vitest' {
  interface TaskMeta {
    /** The requirements of a suite or test that are not met here. */
    missing?: string[];
  }
}

/**
 * Suites and tests that need all of the given `requirements`: `needs('Chromium').describe('in Chromium', ...)`.
 *
 * The function of a suite runs all the same, to find its tests: what it needs is loaded in its hooks.
 */
export function needs(...names: string[]) {
  const missing = names.filter((name) => !requirements[name]!.isMet());
  const options = { tags: names, meta: { missing } };
  const skip = missing.length > 0;
  return {
    describe: (title: string, suite: () => void) => describe.skipIf(skip)(title, options, suite),
    it: (title: string, test: () => void | Promise<void>) => it.skipIf(skip)(title, options, test),
  };
}
