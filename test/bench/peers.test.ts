// A peer that crashes, hangs or is wrong is shown as such, and the others are measured all the same.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { inProcess } from '../../bench/peers/process.mjs';
import { remoteCandidate } from '../../bench/peers/remote.mjs';
import type { Entry } from '../../bench/suite/result.mjs';
import { runSuite } from '../../bench/suite/run.mjs';
import { workloads } from '../../bench/suite/workloads.mjs';

const PATIENCE = 3000;
const peers = ['crash', 'hang', 'wrong', 'throw', 'good'].map((name) =>
  remoteCandidate(name, inProcess(new URL(`peers/${name}.mjs`, import.meta.url).href), PATIENCE),
);
const entries = new Map<string, Entry>();

beforeAll(async () => {
  const workload = workloads.find(({ id }) => id === 'copy-16x768')!;
  const limits = { prepare() {}, measure: () => Promise.resolve(null), dispose() {} };
  const effort = { rounds: 2, sliceTime: 5, warmupTime: 5, processes: 1 };
  for await (const result of runSuite({ workloads: [workload], candidates: () => peers, limits, effort })) {
    for (const entry of result.entries) entries.set(entry.peer, entry);
  }
});

afterAll(() => {
  for (const peer of peers) peer.stop();
});

test.each([
  ['crash', 'failed', /^ended by SIGABRT|^ended with code/],
  ['hang', 'failed', /^no answer for 3 s$/],
  ['wrong', 'failed', /^wrong result, error/],
  ['throw', 'failed', /^too large for it$/],
] as const)('%s', (name, state, reason) => {
  expect(entries.get(name)).toMatchObject({ state, reason: expect.stringMatching(reason) as string });
});

test('the good one is measured, by its faster way', () => {
  const entry = entries.get('good')!;
  expect(entry).toMatchObject({ state: 'measured', variant: 'fast', error: 0, rootMeanSquareError: 0 });
  expect(entry.rounds).toHaveLength(2);
});

test('a process that ended is started again for the next question', async () => {
  const [crash] = peers;
  expect(await crash!.describe()).toEqual({ available: true, version: '1' });
});
