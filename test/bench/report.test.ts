// What a report says of results, and what it refuses to compare.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { makeReport } from '../../bench/report/document.mjs';
import {
  figuresPage,
  formatPages,
  insertFigures,
  readRuns,
  readmeFigures,
  speedLine,
} from '../../bench/report/figures.mjs';
import { toMarkdown } from '../../bench/report/markdown.mjs';
import { readModels } from '../../bench/report/models.mjs';
import { cliffs, compareRuns, growths, ownBest } from '../../bench/suite/analysis.mjs';
import { headline } from '../../bench/suite/headline.mjs';
import type { Entry, ResultFile } from '../../bench/suite/result.mjs';
import { phrase } from '../../bench/suite/words.mjs';
import { workloads } from '../../bench/suite/workloads.mjs';

const path = fileURLToPath(new URL('fixtures/result.json', import.meta.url));
const text = readFileSync(path, 'utf8');
const file = (): ResultFile => JSON.parse(text) as ResultFile;
const folder = mkdtempSync(join(tmpdir(), 'wasm-attention-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** The example with the time of one workload, in every round, times a factor. */
function slowed(id: string, factor: number): ResultFile {
  const changed = file();
  for (const { workload, entries } of changed.results)
    for (const { rounds } of entries)
      if (workload.id === id) for (const round of rounds ?? []) round.milliseconds *= factor;
  return changed;
}

/** Both builds in every round take what the arithmetic says at a steady 10 GFLOP/s beside a limit of 20. */
function ideal(): ResultFile {
  const made = file();
  for (const { workload, entries } of made.results) {
    for (const entry of entries) {
      if (!entry.rounds) continue;
      const milliseconds = Math.max(1, workload.flop.live) / 1e7;
      entry.rounds = entry.rounds.map(() => ({ milliseconds, limit: 20 }));
    }
  }
  return made;
}

test('growth and cliffs of exact times', () => {
  const { results } = ideal();
  const lengths = growths(results).filter(({ series }) => series === 'length');
  expect(lengths.map(({ build }) => build)).toEqual(['simd', 'relaxed']);
  for (const { exponent, expected, points } of lengths) {
    expect(exponent).toBeCloseTo(2, 9);
    expect(expected).toBeCloseTo(2, 9);
    expect(points.map(({ size }) => size)).toEqual([64, 128, 256, 512]);
  }
  for (const { id, ratio, isCliff } of cliffs(results)) {
    expect(id).toBe('odd-h12-dh64-n197');
    expect(isCliff).toBe(false);
    expect(ratio).toBeGreaterThan(0.95);
  }
  for (const { entries, workload } of results) {
    if (workload.id !== 'odd-h12-dh64-n197') continue;
    for (const { rounds } of entries) for (const round of rounds ?? []) round.milliseconds *= 1.5;
  }
  expect(cliffs(results).map(({ isCliff }) => isCliff)).toEqual([true, true]);
});

test('runs of one machine compare: what became slower in every round is found', () => {
  expect(compareRuns(file(), file()).every(({ change }) => change === 'same')).toBe(true);
  const changes = compareRuns(file(), slowed('product-1x768x768', 3));
  expect(changes.filter(({ change }) => change === 'larger').map(({ id }) => id)).toEqual([
    'product-1x768x768',
    'product-1x768x768',
  ]);
  // A machine that is slower altogether shows in its limit too, and is no regression.
  const slowMachine = file();
  for (const { entries } of slowMachine.results) {
    for (const { rounds = [] } of entries) {
      for (const round of rounds) {
        if (round.limit === null) continue;
        round.milliseconds *= 3;
        round.limit /= 3;
      }
    }
  }
  expect(compareRuns(file(), slowMachine).every(({ change }) => change === 'same')).toBe(true);
});

test.each<[string, (other: ResultFile) => void]>([
  ['processor', (other) => (other.machine.processor = 'another')],
  ['engine', (other) => (other.engine.version = '1.0')],
  ['suite version', (other) => (other.suite = 1)],
])('runs of another %s do not compare', (what, change) => {
  const other = file();
  change(other);
  expect(() => compareRuns(file(), other)).toThrow(`another ${what}`);
});

test('the fastest build on one thread stands for this library', () => {
  const entry = (variant: string, threads: number, median: number, peer = 'wasm-attention'): Entry => ({
    peer,
    variant,
    threads,
    state: 'measured',
    error: 0,
    time: { median, p25: median, p75: median, spread: 0, samples: 1 },
    rounds: [{ milliseconds: median, limit: null }],
  });
  const entries = [
    entry('simd', 1, 3),
    entry('relaxed', 1, 2),
    entry('relaxed', 2, 1),
    entry('', 1, 0.5, 'other'),
  ];
  expect(ownBest(entries)).toBe(entries[1]);
  expect(ownBest([])).toBeUndefined();
});

test('the report names runs, versions, noise, failures and missing engines', () => {
  const run = file();
  run.results[0]!.entries.push({
    peer: 'other',
    variant: '',
    threads: 1,
    state: 'failed',
    reason: 'ended by SIGABRT',
  });
  run.results[0]!.entries[0]!.time!.spread = 0.4;
  const missing: ResultFile = { ...file(), missing: 'there is no such browser', results: [] };
  const report = toMarkdown(
    makeReport([
      { name: 'a', file: run },
      { name: 'b', file: missing },
    ]),
  );
  expect(report).toContain('missing: there is no such browser');
  expect(report).toContain('failed: ended by SIGABRT');
  expect(report).toMatch(/The spread is above 15 % in \d+ of \d+ measurements/);
  expect(report).toContain('| length | relaxed | 64 to 512 |');
  expect(report).not.toMatch(/NaN|undefined/);
});

/** The example beside a rival that takes twice our time, in every round, on layers and three times on the rest. */
function compared(): ResultFile {
  const made = file();
  made.versions['onnxruntime-web'] = '1.2.3';
  for (const { workload, entries } of made.results) {
    const best = ownBest(entries);
    if (!best?.rounds) continue;
    best.rootMeanSquareError = 2e-7;
    const factor = workload.group === 'layer' ? 2 : 3;
    const rounds = best.rounds.map((round) => ({ ...round, milliseconds: factor * round.milliseconds }));
    entries.push({ ...best, peer: 'onnxruntime-web', variant: '', rounds, rootMeanSquareError: 1e-7 });
  }
  return made;
}

test('figures go between the marks of the README, and nowhere else', () => {
  const figures = readmeFigures([{ name: 'node-24', file: file() }]);
  expect(figures).toContain('| Layer, 16 tokens, width 64, 4 heads |');
  const readme = 'a\n<!-- figures -->\nold\n<!-- /figures -->\nb\n';
  const filled = insertFigures(readme, figures);
  expect(filled).toBe(`a\n<!-- figures -->\n\n${figures}\n\n<!-- /figures -->\nb\n`);
  expect(insertFigures(filled, figures)).toBe(filled);
  expect(() => insertFigures('no marks', figures)).toThrow('there is no <!-- figures -->');
});

test('figures: times relative to ours, errors of both, other engines in a sentence', () => {
  const figures = readmeFigures([
    { name: 'node-24', file: compared() },
    { name: 'node-20', file: compared() },
  ]);
  const cells = figures
    .match(/^\| Layer, 16 tokens.*$/m)![0]
    .split('|')
    .map((cell) => cell.trim());
  expect(cells.slice(3)).toEqual(['2.00', '2.0e-7 / 1.0e-7', '']);
  expect(figures.match(/^\| (?!---|one thread)/gm)!.length).toBeLessThanOrEqual(10);
  expect(figures).toMatch(/\nIn Node \d+ onnxruntime-web takes 2 times as long for layers/);
});

test('the line at the top of the README compares layers, engine by engine', () => {
  const runs = [
    { name: 'node-24', file: compared() },
    { name: 'node-20', file: compared() },
    { name: 'chromium', file: file() },
  ];
  expect(speedLine(runs)).toMatch(
    /^For a layer onnxruntime-web takes 2 times as long in \w+ \d+, 2 in \w+ \d+\.$/,
  );
  expect(speedLine([{ name: 'node-24', file: file() }])).toBe('');
  const page = 'Small. <!-- speed -->old<!-- /speed -->\n\n<!-- figures --><!-- /figures -->';
  expect(insertFigures(page, 'table', 'Fast.')).toMatch(/^Small\. <!-- speed -->Fast\.<!-- \/speed -->\n/);
});

test('figures of files without the root mean square, or without others, leave the cells empty', () => {
  for (const text of [
    readmeFigures([{ name: 'node-24', file: file() }]),
    figuresPage([{ name: 'node-24', file: file() }]),
    figuresPage([{ name: 'node-24', file: compared() }]),
  ])
    expect(text).not.toMatch(/NaN|undefined|Infinity/);
});

test('figures tell why something failed', () => {
  const made = compared();
  const [first] = made.results;
  const failed: Entry = {
    peer: 'onnxruntime-web',
    variant: '',
    threads: 1,
    state: 'failed',
    reason: 'Error: too long',
  };
  first!.entries = [...first!.entries.filter(({ peer }) => peer === 'wasm-attention'), failed];
  const page = figuresPage([{ name: 'node-24', file: made }]);
  expect(page).toMatch(/\*\*failed\*\*: the peer/);
  expect(page).toContain(`- onnxruntime-web failed (too long): ${phrase(first!.workload)}`);
});

test('figures of whole models: the faster build, the share of what limits it, the rival, both errors', () => {
  const summary = (median: number) => ({ median, p25: median, p75: median, spread: 0, samples: 3 });
  const rates = { gflops: 50, error: 2e-6, rootMeanSquareError: 4e-7 };
  const memory = { weights: 1000, used: 1000, peak: 1010, capacity: 1030 };
  const own = {
    ...rates,
    peer: 'wasm-attention',
    fromRival: 3e-6,
    rivalOverOurs: summary(2),
    timeOverParts: summary(1.02),
  };
  const page = figuresPage([{ name: 'node-24', file: compared() }], {
    ...file(),
    format: 'wasm-attention-models',
    versions: { 'wasm-attention': '1.0.0', 'onnxruntime-web': '1.30.0' },
    results: [
      {
        workload: { label: 'encoder, small', flop: 1e9 },
        entries: [
          {
            ...own,
            variant: 'simd',
            time: summary(30),
            share: summary(0.7),
            memory: { loaded: memory, afterFirstCall: memory },
          },
          { ...own, variant: 'relaxed', time: summary(20), share: summary(0.85) },
          {
            ...rates,
            peer: 'onnxruntime-web',
            variant: 'attention',
            time: summary(40),
            rootMeanSquareError: 5e-7,
          },
        ],
      },
    ],
    starts: [
      { peer: 'wasm-attention', variant: '', firstResult: summary(140), withImport: summary(160) },
      { peer: 'onnxruntime-web', variant: 'opset', firstResult: summary(600), withImport: summary(650) },
      { peer: 'onnxruntime-web', variant: 'attention', firstResult: summary(500), withImport: summary(550) },
    ],
  });
  expect(page).toContain('| encoder, small | 20.0 | 85 % | 2.00 | 2.0 % | 4.0e-7 | 5.0e-7 | 3.0e-6 |');
  expect(page).toContain('in a fresh process: 140 ms; onnxruntime-web, 500 ms.');
  expect(page).toContain('beyond its weights: at most 3.0 %.');
});

test('the figures of the README and of docs/figures.md are those of bench/results', async () => {
  const folder = fileURLToPath(new URL('../../bench/results', import.meta.url));
  const pages = Object.entries(await formatPages(readRuns(folder), readModels(folder)));
  expect(pages.length).toBe(2);
  for (const [path, text] of pages)
    expect(readFileSync(path, 'utf8'), `npm run bench:figures (${path})`).toBe(text);
});

test('the headline says how long others take, how near the limit we are, and how large the error is', () => {
  const [first, many, ...others] = headline(compared().results);
  expect(first).toMatch(/^onnxruntime-web takes [23] times as long as wasm-attention for the same work\.$/);
  expect(many).toMatch(/^That is the median of \d+ workloads; they range from 2 to 3 times\.$/);
  expect(others.join(' ')).toMatch(/runs at \d+ % of the rate .* error is 2 times onnxruntime-web's/);
  expect(headline(file().results)[0]).toMatch(/^wasm-attention runs at \d+ % of the rate/);
  expect(headline([])).toEqual([]);
});

test('the report opens with the result', () => {
  const [opening] = makeReport([{ name: 'a', file: compared() }]);
  expect(opening!.blocks[0]).toEqual({ kind: 'headline', text: headline(compared().results)[0] });
});

test('names of workloads are words, and tell them apart', () => {
  for (const workload of workloads) expect(phrase(workload)).not.toMatch(/\b(dh|h|n|d)\d|undefined|NaN/);
  for (const group of new Set(workloads.map((workload) => workload.group))) {
    const names = workloads.filter((workload) => workload.group === group).map(phrase);
    expect(new Set(names).size).toBe(names.length);
  }
});

const program = fileURLToPath(new URL('../../bench/report/main.mjs', import.meta.url));
const run = (...given: string[]) => spawnSync(process.execPath, [program, ...given], { encoding: 'utf8' });

test('the program: reports, regressions and damaged files have exit codes of their own', () => {
  expect(run(path)).toMatchObject({ status: 0, stdout: expect.stringContaining('# Benchmarks') as string });
  const whole = run();
  expect(whole.status).toBe(0);
  for (const engine of ['Node 20', 'Node 24', 'Firefox', 'workerd']) expect(whole.stdout).toContain(engine);
  const slower = join(folder, 'slower.json');
  writeFileSync(slower, JSON.stringify(slowed('product-1x768x768', 3)));
  const compared = run('--compare', path, slower);
  expect(compared.status).toBe(1);
  expect(compared.stdout).toMatch(/^slower:\n {2}3\.00 x {2}product-1x768x768/);
  expect(run('--compare', slower, path)).toMatchObject({ status: 0 });
  const damaged = join(folder, 'damaged.json');
  writeFileSync(damaged, text.slice(0, 500));
  const refused = run(damaged);
  expect(refused.status).toBe(2);
  expect(refused.stderr).toContain('damaged.json is no JSON');
  expect(run('/no/such/file.json').stderr).toContain('cannot be read');
  expect(run('--compare', path).status).toBe(2);
});
