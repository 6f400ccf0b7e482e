import { writeFileSync } from 'node:fs';
import type { Reporter, SerializedError, TestModule } from 'vitest/node';

/**
 * Writes `{ passed, failed, skipped }` to the file named by WASM_ATTENTION_TEST_COUNTS.
 *
 * Whatever keeps tests from running counts as a failure of its own: a module that does not load, a hook that throws, an
 * error outside every test, a test that never came to its end.
 */
export default class CountsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const file = process.env['WASM_ATTENTION_TEST_COUNTS'];
    if (!file) return;

    const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
    for (const module of modules) {
      if (module.errors().length > 0) counts.failed++;
      for (const suite of module.children.allSuites()) {
        if (suite.errors().length > 0) counts.failed++;
      }
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        counts[state === 'pending' ? 'failed' : state]++;
      }
    }
    writeFileSync(file, JSON.stringify(counts));
  }
}
