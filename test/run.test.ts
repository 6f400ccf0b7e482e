// What `npm test` makes of its runs: nothing fails or stays undone without a name and a reason.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { closingLine, failureList, joined, notRunList } from './summary.mjs';
import type { NotRun, Outcome } from './summary.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'wasm-attention-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** What our reporter writes of a file in fixtures/, on a machine without browsers. */
function outcomeOf(fixture: string, ...options: string[]): Outcome {
  const file = join(folder, `${fixture}.json`);
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--config', 'test/fixtures/vitest.config.ts'];
  const given = ['--root', root, '--reporter', './test/reporter.ts', `${fixture}.fixture.ts`, ...options];
  const env = { ...process.env, CHROMIUM: '/none', FIREFOX: '/none', WASM_ATTENTION_TEST_OUTCOME: file };
  spawnSync(process.execPath, [...vitest, ...given], { cwd: root, env });
  return JSON.parse(readFileSync(file, 'utf8')) as Outcome;
}

describe('a run', () => {
  const file = 'test/fixtures/ends.fixture.ts';

  it('names all that failed, hooks and stray errors too, and all that was not run, with the reason', () => {
    const { passed, failures, notRun } = outcomeOf('ends');
    expect(passed).toBe(2);
    expect(failures).toEqual([
      `${file} > a suite, a hook: broken hook`,
      `${file} > fails: on purpose`,
      'outside every test: nobody waits',
    ]);
    expect(notRun).toEqual([
      { file, name: 'a suite > never begins', block: 'a suite', missing: [], reason: 'a hook failed' },
      { file, name: 'a page > shows', block: 'a page', missing: ['Chromium'] },
      {
        ...{ file, name: 'a page > in another browser > shows, too', block: 'a page > in another browser' },
        missing: ['Chromium', 'Firefox'],
      },
      ...[{ file, name: 'a test with needs', block: 'a test with needs', missing: ['Chromium'] }],
      { file, name: 'is not for here', block: 'is not for here', missing: [], reason: 'not covered: this' },
      { file, name: 'is forgotten', block: 'is forgotten', missing: [] },
    ]);
  });

  it('misses nothing that was not asked for', () => {
    expect(outcomeOf('ends', '-t', 'shows').notRun.map(({ name }) => name)).toEqual([
      'a page > shows',
      'a page > in another browser > shows, too',
    ]);
    const tagged = outcomeOf('ends', '--tags-filter', 'Chromium || Firefox');
    expect(tagged).toMatchObject({ passed: 0, failures: [] });
    expect(tagged.notRun.every(({ missing }) => missing.includes('Chromium'))).toBe(true);
  });

  it('fails by name where a file does not load', () => {
    const { failures } = outcomeOf('broken');
    expect(failures).toEqual([
      expect.stringMatching(/^test\/fixtures\/broken\.fixture\.ts: .*not-there/) as string,
    ]);
  });

  it('fails by name where a process ended under its tests', () => {
    const { passed, failures } = outcomeOf('abort');
    expect(passed).toBe(0);
    expect(failures).toContain('test/fixtures/abort.fixture.ts > takes its process down: it did not end');
    expect(failures).toContain('test/fixtures/abort.fixture.ts > waits behind it: it did not end');
  });
});

const test = (name: string, ...missing: string[]): NotRun => ({
  file: 'a.test.ts',
  name,
  block: 'pages',
  missing,
});
const notCovered: NotRun = { ...test('other'), block: 'cases', reason: 'not covered: this' };

describe('what was not run', () => {
  const runs = [
    {
      title: 'Node 20',
      node: 'node',
      passed: 3,
      failures: [],
      notRun: [test('one', 'Chromium'), test('two', 'Chromium'), notCovered],
    },
    {
      title: 'Node 24',
      node: 'node24',
      passed: 4,
      failures: [],
      notRun: [test('one', 'Chromium'), test('two', 'Chromium')],
    },
  ];

  it('is listed by reason, and how to run it', () => {
    expect(notRunList(runs)).toBe(`Not run (Node 20: 3, Node 24: 2)
  without Chromium
    a.test.ts
      pages (2 tests)
  not covered: this
    a.test.ts
      cases (only on Node 20)

To run these too, get what is missing, then: npm test -- --not-run
  Chromium  apt-get install chromium, or name its program in the variable CHROMIUM`);
    expect(closingLine(runs)).toBe('7 passed, 0 failed, 5 skipped');
  });

  it('is nothing where all was run', () => {
    const all = [{ title: 'Node 20', node: 'node', passed: 3, failures: [], notRun: [] }];
    expect([notRunList(all), failureList(all), closingLine(all)]).toEqual(['', '', '3 passed, 0 failed']);
  });

  it('counts once when it is run afterwards', () => {
    const later = joined(runs[0]!, { passed: 1, failures: ['a.test.ts > two: broken'], notRun: [] }, true);
    expect(later).toMatchObject({ passed: 4, failures: ['a.test.ts > two: broken'], notRun: [notCovered] });
    expect(failureList([later])).toBe('Failed\n  Node 20: a.test.ts > two: broken');
  });

  it('is a failure where it is not found again', () => {
    const { failures } = joined(runs[0]!, { passed: 1, failures: [], notRun: [] }, false);
    expect(failures).toEqual(['not found again: 1 of the tests that were not run before']);
  });

  it('is a failure where it has to be run and cannot, but not for what only some machines can have', () => {
    const first = {
      ...{ passed: 0, failures: [] },
      notRun: [
        test('one', 'bench', 'Chromium'),
        test('two', 'ONNX-cases'),
        test('three', 'Node-22', 'workerd'),
      ],
    };
    const second = { passed: 0, failures: [], notRun: first.notRun };
    expect(joined(first, second, false)).toMatchObject({ failures: [], notRun: { length: 3 } });
    const strict = joined(first, second, true);
    expect(strict.failures).toEqual([
      'a.test.ts > one: could not be run without the packages of bench/ and Chromium',
    ]);
    expect(strict.notRun.map(({ name }) => name).sort()).toEqual(['three', 'two']);
  });
});
