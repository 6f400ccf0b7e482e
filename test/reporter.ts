import { writeFileSync } from 'node:fs';
import type { Reporter, SerializedError, TestCase, TestModule, TestSuite, Vitest } from 'vitest/node';
import type { NotRun, Outcome } from './summary.mjs';

/**
 * Writes the `Outcome` of a run to the file named by WASM_ATTENTION_TEST_OUTCOME.
 *
 * Whatever keeps tests from running is a failure of its own, by name: a module that does not load, a hook that throws, an
 * error outside every test, a test that never came to its end.
 */
export default class OutcomeReporter implements Reporter {
  #vitest: Vitest | undefined;

  onInit(vitest: Vitest): void {
    this.#vitest = vitest;
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const file = process.env['WASM_ATTENTION_TEST_OUTCOME'];
    if (!file) return;

    const outcome: Outcome = { passed: 0, failures: [], notRun: [] };
    const { failures, notRun } = outcome;
    for (const module of modules) {
      const path = module.relativeModuleId;
      for (const error of module.errors()) failures.push(`${path}: ${firstLine(error)}`);
      for (const suite of module.children.allSuites()) {
        for (const error of suite.errors())
          failures.push(`${path} > ${suite.fullName}, a hook: ${firstLine(error)}`);
      }
      for (const test of module.children.allTests()) {
        const { state, errors } = test.result();
        const name = `${path} > ${test.fullName}`;
        if (state === 'passed') outcome.passed++;
        else if (state === 'failed') failures.push(`${name}: ${firstLine(errors[0])}`);
        // vitest leaves a test pending that stands in two skipped suites, one in the other.
        else if (state === 'skipped' || isInSkippedSuite(test)) {
          if (this.#wasAskedFor(test)) notRun.push(whyNotRun(test));
        } else failures.push(`${name}: it did not end`);
      }
    }
    for (const error of unhandledErrors) failures.push(`outside every test: ${firstLine(error)}`);
    writeFileSync(file, JSON.stringify(outcome));
  }

  /** Tests that a filter of the command line leaves out are skipped too, but nobody misses them. */
  #wasAskedFor(test: TestCase): boolean {
    const pattern = this.#vitest?.getGlobalTestNamePattern();
    if (pattern && !pattern.test(test.fullName.replaceAll(' > ', ' '))) return false;
    const { missing, reason } = whyNotRun(test);
    return this.#vitest?.config.tagsFilter === undefined || missing.length > 0 || reason !== undefined;
  }
}

function* suitesAround(test: TestCase | TestSuite): Generator<TestSuite> {
  for (let { parent } = test; parent.type === 'suite'; { parent } = parent) yield parent;
}

function isInSkippedSuite(test: TestCase): boolean {
  return [...suitesAround(test)].some(({ options: { mode } }) => mode === 'skip' || mode === 'todo');
}

/** What is missing stands in the metadata of the test and of suites around it, where `needs` has put it. */
function whyNotRun(test: TestCase): NotRun {
  const suites = [...suitesAround(test)].reverse();
  const missing = new Set<string>();
  let block: TestCase | TestSuite = suites.at(-1) ?? test;
  for (const task of [...suites, test]) {
    const more = (task.meta().missing ?? []).filter((name) => !missing.has(name));
    if (more.length > 0) block = task;
    for (const name of more) missing.add(name);
  }
  const { note } = test.result() as { note?: string };
  return {
    file: test.module.relativeModuleId,
    name: test.fullName,
    block: block.fullName,
    missing: [...missing],
    reason: suites.some((suite) => suite.errors().length > 0) ? 'a hook failed' : note,
  };
}

function firstLine(error: { message?: string } | undefined): string {
  return error?.message?.split('\n')[0] ?? 'no reason given';
}
