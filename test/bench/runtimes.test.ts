// Collecting results of several engines: what one of them does wrong is written down, and the rest goes on.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { collect } from '../../bench/runtimes/collect.mjs';
import { makeResultFile } from '../../bench/suite/result.mjs';
import { quickEffort } from '../../bench/suite/run.mjs';
import { run } from '../matrix/processes.mjs';

type Engine = Parameters<typeof collect>[0][number];

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'wasm-attention-runtimes-'))));
afterEach(() => rmSync(folder, { recursive: true }));

const sample = JSON.parse(
  readFileSync(new URL('fixtures/result.json', import.meta.url), 'utf8'),
) as ReturnType<typeof makeResultFile>;

const { machine, engine: engineFacts, versions, absent: without } = sample;
const facts = { machine, engine: engineFacts, versions, absent: without };

/** A result file as an engine would give it. */
const results = (change: object = {}) =>
  JSON.stringify({ ...makeResultFile(facts, sample.results, quickEffort), ...change });

const engine = (name: string, work: Engine['run'], missing?: string): Engine => ({
  name,
  whyMissing: () => missing,
  run: work,
});

/** An engine that is a program of Node, as the real ones are. */
const program = (name: string, code: string): Engine =>
  engine(name, ({ seconds, file }) => run(process.execPath, ['-e', code, file], { seconds }));

async function collected(engines: Engine[], options: { again?: boolean; seconds?: number } = {}) {
  const said: string[] = [];
  const files = await collect(engines, {
    ...{ folder, workloads: '', quick: true, again: false, seconds: 20, ...options },
    say: (text: string) => said.push(text),
  });
  return { files, said: said.join('\n') };
}

describe('engines in turn', () => {
  it('one that is missing, crashes, hangs or writes nonsense does not stop the rest', async () => {
    const { files, said } = await collected(
      [
        engine('Absent', () => Promise.reject(new Error('never asked')), 'it is not installed'),
        program('Crashing', 'process.abort()'),
        program('Hanging', 'setInterval(() => {}, 1000)'),
        engine('Babbling', () => Promise.resolve('not JSON')),
        engine('Foreign', () => Promise.resolve('{"format":"something else"}')),
        engine('Good', () => Promise.resolve(results())),
      ],
      { seconds: 2 },
    );
    const [absent, crashing, hanging, babbling, foreign, good] = files.map(({ file }) => file);
    expect(absent).toMatchObject({ missing: 'it is not installed', results: [] });
    expect(crashing).toMatchObject({ ended: expect.stringMatching(/exit status/) as unknown, results: [] });
    expect(hanging).toMatchObject({ ended: 'not done after 2 s: ' });
    expect(babbling!.ended).toMatch(/is no JSON/);
    expect(foreign!.ended).toMatch(/no result file/);
    expect(good!.ended).toBeUndefined();
    expect(good!.results.length).toBe(sample.results.length);
    expect(said).toMatch(/Absent: missing, it is not installed/);
    expect(said).toMatch(/ended early/);
  });

  it('keeps what an engine had written before it fell', async () => {
    const text = JSON.stringify(results());
    const code = `require('fs').writeFileSync(process.argv[1], ${text}); process.exit(3);`;
    const { files } = await collected([program('Falling', code)]);
    expect(files[0]!.file.results.length).toBe(sample.results.length);
    expect(files[0]!.file.ended).toMatch(/exit status 3/);
  });

  it('tells of wrong numbers', async () => {
    const [first, ...rest] = sample.results;
    const wrong = {
      peer: 'wasm-attention',
      variant: 'simd',
      threads: 1,
      state: 'failed',
      reason: 'wrong result',
    };
    const changed = [{ ...first!, entries: [wrong] }, ...rest];
    const { said } = await collected([engine('Wrong', () => Promise.resolve(results({ results: changed })))]);
    expect(said).toContain(`failed: ${first!.workload.id}: wrong result`);
  });

  it('does not measure again what is there and whole', async () => {
    let runs = 0;
    const good = engine('Good', () => Promise.resolve((runs++, results())));
    await collected([good]);
    await collected([good]);
    expect(runs).toBe(1);
    await collected([good], { again: true });
    expect(runs).toBe(2);
    for (const spoilt of [results({ ended: 'a fall' }), results({ suite: 1 }), 'nonsense']) {
      writeFileSync(join(folder, 'good.json'), spoilt);
      await collected([good]);
    }
    expect(runs).toBe(5);
  });
});
