// `npm run bench:training`: a step of training (forward, loss, backward, clipping, AdamW) of a small decoder, beside jax-js and
// TensorFlow.js doing the same step with the same data, one thread; the same of the model of learned/text, whose steps `train` takes
// here; then attention's way back alone. All that is compared takes
// turns in one process; figures are medians of the rounds, and the least beside them.
//
//   -- --rounds N          rounds (7)
//   -- --only REGEX        of: step, text, attention, memory, profile, and of the attentions' labels
//   -- --builds A,B        of this library (relaxed,simd)
//   -- --threads N         also with so many threads, beside one
//   -- --no-peers          this library alone
//   -- --json FILE         also write all that was measured

import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { describeEngine, describeMachine, libraryVersion } from './facts.mjs';
import { peakOf } from './models/ours.mjs';
import { packageVersion } from './peers/peer.mjs';
import { OWN } from './suite/analysis.mjs';
import { summarize, summarizeRatios } from './suite/statistics.mjs';
import { digits, percent } from './tables.mjs';
import {
  ATTENTIONS,
  backwardFlop,
  forwardFlop,
  labelOf,
  LONG_ATTENTION,
  openAttention,
  scratchOf,
} from './training/attention.mjs';
import { openLoop, openRuntime, openTraining, profile } from './training/ours.mjs';
import { DECODER, flopOf, makeTask, OPTIMIZER, TEXT } from './training/workloads.mjs';

/** Steps over which losses are compared, and how far apart they may be. */
const COMPARED = 5;
const TOLERANCE = 1e-3;
const PROFILED = 5;

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    only: { type: 'string', default: '' },
    builds: { type: 'string', default: 'relaxed,simd' },
    threads: { type: 'string', default: '1' },
    'no-peers': { type: 'boolean', default: false },
    json: { type: 'string' },
  },
});
const rounds = Number(options.rounds);
const builds = options.builds.split(',');
const threads = Number(options.threads);
const only = new RegExp(options.only);

const note = (/** @type {string} */ text) => {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
};

/**
 * @typedef {object} Turn
 * @property {() => any} run
 * @property {number} flop
 * @property {(() => number) | undefined} limit GFLOP/s of the engine
 * @property {number[]} times
 * @property {number[]} limits
 */

/** @param {() => any} run @param {number} flop @param {() => number} [limit] @returns {Turn} */
const turn = (run, flop, limit) => ({ run, flop, limit, times: [], limits: [] });

/** All in turn, round after round. @param {Turn[]} turns */
async function interleave(turns) {
  for (let round = 0; round < rounds; round++) {
    note(`  round ${round + 1} of ${rounds}`);
    for (const one of turns) {
      const before = one.limit?.();
      const start = performance.now();
      await one.run();
      one.times.push(performance.now() - start);
      if (before !== undefined) one.limits.push((before + /** @type {any} */ (one).limit()) / 2);
    }
  }
  note('');
}

/** @param {Turn} turn */
function summaryOf({ times, limits, flop }) {
  const time = summarize(times);
  const share = limits.length > 0 && summarize(times.map((each, i) => flop / each / 1e6 / limits[i]));
  const least = Math.min(...times);
  const best = limits.length > 0 && { share, bestShare: flop / least / 1e6 / Math.max(...limits) };
  return { time, least, gflops: flop / time.median / 1e6, ...best };
}

/** @param {string[][]} rows the first is the head */
function printTable(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  for (const row of rows) {
    const cells = row.map((cell, column) =>
      column < 1 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]),
    );
    console.log(`  ${cells.join('  ').trimEnd()}`);
  }
}

/** Memory of linear memory since before the model. @param {any} runtime @param {any} before */
const grown = ({ memory: { used, peak } }, before) => ({
  used: used - before.used,
  peak: peak - before.used,
});

const PEERS = {
  'jax-js': { module: './training/jax-js.mjs', package: '@jax-js/jax' },
  'tfjs-wasm': { module: './training/tensorflow.mjs', package: '@tensorflow/tfjs-backend-wasm' },
};

/** Those that can be imported here. */
async function openPeers(task) {
  const opened = [];
  for (const [name, { module, package: from }] of Object.entries(PEERS)) {
    try {
      const peer = await import(module);
      const library = await peer.importLibrary();
      opened.push({ name, version: await packageVersion(from), training: peer.openTraining(library, task) });
    } catch (error) {
      console.log(`${name} is not compared: ${String(/** @type {Error} */ (error).message).slice(0, 120)}`);
    }
  }
  return opened;
}

/** The first losses, which leave nothing to warm up. */
async function firstLosses(training) {
  const losses = [];
  for (let step = 0; step < COMPARED; step++) losses.push(await training.step());
  return losses;
}

/**
 * @param {import('./training/workloads.mjs').TrainingWorkload} workload
 * @param {typeof openTraining | typeof openLoop} open
 */
async function measureStep(workload, open) {
  const task = makeTask(workload);
  const flop = flopOf(workload);
  const tokens = workload.batch * workload.length;
  const candidates = [];
  const counts = threads > 1 ? [1, threads] : [1];
  for (const [build, count] of builds.flatMap((build) =>
    counts.map((count) => /** @type {const} */ ([build, count])),
  )) {
    const runtime = await openRuntime(build, count);
    const before = runtime.memory;
    const training = await open(runtime, task);
    const limit = count === 1 ? () => peakOf(runtime) : undefined;
    const measured = turn(training.step, flop, limit);
    const memory = () => grown(runtime, before);
    candidates.push({ peer: OWN, variant: build, threads: count, training, turn: measured, memory, runtime });
  }
  const peers = options['no-peers'] ? [] : await openPeers(task);
  for (const { name, training } of peers)
    candidates.push({ peer: name, variant: '', threads: 1, training, turn: turn(training.step, flop) });
  for (const one of candidates) {
    note(`  ${one.peer} ${one.variant}`);
    one.losses = await firstLosses(one.training);
  }
  const [first] = candidates;
  for (const { peer, variant, losses } of candidates) {
    const apart = Math.max(...losses.map((loss, i) => Math.abs(loss - first.losses[i])));
    if (!(apart < TOLERANCE)) {
      console.log(`  ${peer} ${variant}: losses ${losses.join(', ')} in place of ${first.losses.join(', ')}`);
      process.exitCode = 1;
    }
  }
  await interleave(candidates.map((one) => one.turn));
  const entries = candidates.map((one) => {
    const { peer, variant, threads: count, losses, turn: own, memory } = one;
    const alone = candidates.find((other) => other.variant === variant && other.threads === 1);
    return {
      ...{ peer, variant, threads: count, losses },
      ...summaryOf(own),
      tokensPerSecond: (tokens / summarize(own.times).median) * 1000,
      ...(memory && { memory: memory() }),
      ...(peer === OWN &&
        count === 1 && {
          over: Object.fromEntries(
            candidates
              .filter((other) => other.peer !== OWN)
              .map((other) => [other.peer, summarizeRatios(other.turn.times, own.times)]),
          ),
        }),
      ...(count > 1 && alone && { overOneThread: summarizeRatios(alone.turn.times, own.times) }),
    };
  });
  for (const { training, runtime } of candidates) {
    training.dispose();
    runtime?.dispose();
  }
  const versions = Object.fromEntries(peers.map(({ name, version }) => [name, version]));
  return { label: workload.label, flop, optimizer: OPTIMIZER, versions, entries };
}

function printStep({ label, flop, entries }) {
  console.log(`\nOne step of training: ${label} (${digits(flop / 1e9)} GFLOP)`);
  const rivals = entries.filter(({ peer }) => peer !== OWN).map(({ peer }) => peer);
  printTable([
    [
      '',
      'ms',
      'least',
      'spread',
      'GFLOP/s',
      'share',
      'best',
      'tokens/s',
      'MB',
      ...rivals.map((name) => `${name} / ours`),
      'x 1 thread',
    ],
    ...entries.map((entry) => [
      `${entry.peer} ${entry.variant}${entry.threads > 1 ? `, ${entry.threads} threads` : ''}`.trim(),
      digits(entry.time.median),
      digits(entry.least),
      percent(entry.time.spread),
      digits(entry.gflops),
      percent(entry.share?.median),
      percent(entry.bestShare),
      digits(entry.tokensPerSecond),
      entry.memory ? digits(entry.memory.peak / 1e6) : '-',
      ...rivals.map((name) => digits(entry.over?.[name].median)),
      digits(entry.overOneThread?.median),
    ]),
  ]);
  const apart = entries.flatMap(({ losses }) =>
    losses.map((loss, i) => Math.abs(loss - entries[0].losses[i])),
  );
  const [from, to] = [entries[0].losses[0], entries[0].losses.at(-1)];
  console.log(
    `  losses ${from.toFixed(4)} to ${to.toFixed(4)} in ${COMPARED} steps, at most ${Math.max(...apart).toExponential(1)} apart`,
  );
}

async function measureAttention(shape) {
  const opened = [];
  for (const build of builds) {
    const runtime = await openRuntime(build);
    const parts = openAttention(runtime, shape);
    const limit = () => peakOf(runtime);
    const forward = turn(parts.forward, forwardFlop(shape), limit);
    const backward = turn(parts.backward, backwardFlop(shape), limit);
    parts.forward();
    parts.backward();
    opened.push({ build, runtime, forward, backward });
  }
  await interleave(opened.flatMap(({ forward, backward }) => [forward, backward]));
  const entries = opened.map(({ build, forward, backward }) => ({
    build,
    forward: summaryOf(forward),
    backward: summaryOf(backward),
    overForward: summarizeRatios(backward.times, forward.times),
  }));
  for (const { runtime } of opened) runtime.dispose();
  return { label: labelOf(shape), shape, entries };
}

const ATTENTION_HEAD = [
  'attention',
  'build',
  'forward ms',
  'backward ms',
  'GFLOP/s',
  'share',
  'best',
  'over forward',
];

const attentionRows = ({ label, entries }) =>
  entries.map(({ build, forward, backward, overForward }, i) => [
    i === 0 ? label : '',
    build,
    digits(forward.time.median),
    digits(backward.time.median),
    digits(backward.gflops),
    percent(backward.share.median),
    percent(backward.bestShare),
    digits(overForward.median),
  ]);

async function measureProfile() {
  const task = makeTask(DECODER);
  const profiles = [];
  for (const build of builds) profiles.push({ build, ...(await profile(build, task, PROFILED)) });
  return profiles;
}

function printProfile(profiles) {
  console.log(`\nWhere a step's time goes, ms, the fastest of ${PROFILED}`);
  const parts = profiles.map(({ whole, entries }) => {
    const sums = new Map();
    for (const { part, milliseconds } of entries) sums.set(part, (sums.get(part) ?? 0) + milliseconds);
    const within = entries.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
    return sums.set('outside of kernels', whole - within).set('whole', whole);
  });
  const names = [...parts[0].keys()].filter((name) => parts.some((sums) => sums.get(name) > 0.5));
  printTable([
    ['part', ...profiles.map(({ build }) => build)],
    ...names.map((name) => [name, ...parts.map((sums) => digits(sums.get(name)))]),
  ]);
}

const facts = {
  machine: describeMachine(),
  engine: describeEngine(),
  versions: /** @type {Record<string, string>} */ ({ [OWN]: libraryVersion() }),
};
console.log(
  `${facts.engine.name} ${facts.engine.version}, ${facts.machine.processor}; medians of ${rounds} interleaved rounds`,
);
const measured = /** @type {Record<string, any>} */ ({});
const save = () => {
  if (!options.json) return;
  const method = {
    step: 'ids and labels in, parameters updated, the loss out; the model loaded ahead; the same batch at each step',
    flop: 'three times the products and attention of a forward pass, of causal attention what it keeps',
    share:
      'of the f32x4 multiply-adds of the same build, before and after each turn; best: the least time, the largest rate',
    attention: 'tensors in linear memory; backward: five products; a record made once',
    memory: 'bytes of linear memory since before the model',
    rounds,
  };
  const file = {
    format: 'wasm-attention-training',
    date: new Date().toISOString(),
    ...facts,
    method,
    ...measured,
  };
  writeFileSync(options.json, `${JSON.stringify(file, null, 1)}\n`);
};
const STEPS = /** @type {const} */ ({ step: [DECODER, openTraining], text: [TEXT, openLoop] });
for (const [name, [workload, open]] of Object.entries(STEPS)) {
  if (!only.test(name)) continue;
  measured[name] = await measureStep(workload, open);
  Object.assign(facts.versions, measured[name].versions);
  printStep(measured[name]);
  save();
}
if (only.test('profile')) {
  measured.profile = await measureProfile();
  printProfile(measured.profile);
  save();
}
const attentions = ATTENTIONS.filter((shape) => only.test(`attention ${labelOf(shape)}`));
if (attentions.length > 0) {
  measured.attention = [];
  for (const shape of attentions) {
    measured.attention.push(await measureAttention(shape));
    save();
  }
  console.log('\nAttention alone');
  printTable([ATTENTION_HEAD, ...measured.attention.flatMap(attentionRows)]);
}
if (only.test('memory')) {
  const runtime = await openRuntime(builds[0]);
  const bytes = scratchOf(runtime, LONG_ATTENTION);
  runtime.dispose();
  measured.memory = { label: labelOf(LONG_ATTENTION), bytes };
  console.log(`\nScratch of attention's way back, ${labelOf(LONG_ATTENTION)}: ${digits(bytes / 1e6)} MB`);
  save();
}
