// `npm run bench:models`: whole models from their checkpoint files, beside onnxruntime-web running the same graphs with its fused
// operators, one thread. All that is compared takes turns in one process; figures are medians of the rounds.
//
//   -- --rounds N          rounds (7)
//   -- --only REGEX        of the workloads' ids
//   -- --builds A,B        of this library (relaxed,simd)
//   -- --no-peers          this library alone
//   -- --json FILE         also write all that was measured

import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { describeEngine, describeMachine, libraryVersion } from './facts.mjs';
import { makeModelFiles, Random, SIZES } from './models/checkpoint.mjs';
import { decoderReference, encoderReference } from './models/float64.mjs';
import { callOf, fillCache, load, openParts, openReading, openRuntime, peakOf } from './models/ours.mjs';
import { graphOf, importRuntime, openSession, variantsOf } from './models/theirs.mjs';
import { MODEL_WORKLOADS } from './models/workloads.mjs';
import { packageVersion } from './peers/peer.mjs';
import { OWN } from './suite/analysis.mjs';
import { summarize, summarizeRatios } from './suite/statistics.mjs';
import { digits, percent } from './tables.mjs';

const RIVAL = 'onnxruntime-web';
/** Work from which on float64 in JavaScript takes too long: results are compared with each other only. */
const MOST_FLOP_TO_CHECK = 30e9;
/** Work that is longer finds caches and pages as it leaves them: no call goes before the timed one. */
const LONG = 200;
/** Processes for each cold start. */
const STARTS = 7;

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    only: { type: 'string', default: '' },
    builds: { type: 'string', default: 'relaxed,simd' },
    'no-peers': { type: 'boolean', default: false },
    json: { type: 'string' },
  },
});
const rounds = Number(options.rounds);
const builds = options.builds.split(',');

/** @typedef {{ run: () => any, dispose: () => any, limit?: () => number, times: number[], limits: number[] }} Turn */

/** @param {{ run: () => any, dispose?: () => any, limit?: () => number }} what @returns {Turn} */
const turn = (what) => ({ dispose: () => undefined, times: [], limits: [], ...what });

const note = (/** @type {string} */ text) => {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
};

/** One timed call. @param {() => any} run */
async function time(run) {
  const start = performance.now();
  const result = run();
  if (result instanceof Promise) await result;
  return performance.now() - start;
}

/** All in turn, round after round. @param {Turn[]} turns */
async function interleave(turns) {
  const short = [];
  for (const one of turns) {
    await one.run();
    if ((await time(one.run)) < LONG) short.push(one);
  }
  for (let round = 0; round < rounds; round++) {
    note(`  round ${round + 1} of ${rounds}`);
    for (const one of turns) {
      if (short.includes(one)) await one.run();
      const before = one.limit?.();
      one.times.push(await time(one.run));
      if (before !== undefined) one.limits.push((before + /** @type {any} */ (one).limit()) / 2);
    }
  }
  note('');
}

/** Of one result against what it should be. @param {ArrayLike<number>} values @param {ArrayLike<number>} exact */
function errorOf(values, exact) {
  if (values.length !== exact.length) throw new Error(`${values.length} numbers in place of ${exact.length}`);
  let [largest, squares] = [0, 0];
  for (let i = 0; i < exact.length; i++) {
    const error = Math.abs(values[i] - exact[i]);
    if (!(error <= largest)) largest = error;
    squares += error * error;
  }
  return { error: largest, rootMeanSquareError: Math.sqrt(squares / exact.length) };
}

/** The fastest way of the rival to do it; the others are let go. */
async function openRival(library, files, workload, ids, past) {
  let best;
  for (const variant of variantsOf(workload)) {
    note(`  ${RIVAL}, ${variant}`);
    try {
      const session = await openSession(
        library,
        graphOf(files, workload, variant),
        files,
        workload,
        variant,
        ids,
        past,
      );
      const times = [];
      for (let call = 0; call < 4; call++) times.push(await time(session.run));
      const fastest = Math.min(...times);
      const slower = best && best.fastest <= fastest ? session : best?.session;
      if (slower !== session) best = { session, fastest };
      await slower?.dispose();
    } catch (error) {
      console.log(`  ${RIVAL}, ${variant}: ${String(error.message).slice(0, 120)}`);
    }
  }
  note('');
  return best?.session;
}

/** Keys and values of tokens that were never there, of the size that norms leave. */
function makePast({ layers, heads, width }, length, random) {
  const elements = (heads * length * width) / heads;
  return Array.from({ length: length > 0 ? layers : 0 }, () => ({
    length,
    key: random.fill(new Float32Array(elements), 1.7),
    value: random.fill(new Float32Array(elements), 1.7),
  }));
}

function memoryOf(runtime, before, model) {
  const { used, peak, capacity } = runtime.memory;
  const weights = model.parameterCount * 4;
  return { weights, used: used - before.used, peak: peak - before.used, capacity: capacity - before.used };
}

async function measure(workload, library) {
  const { kind, tokens, past: length, flop } = workload;
  const size = SIZES[workload.model];
  const files = makeModelFiles(size);
  const random = new Random();
  const ids = random.integers(tokens, size.vocabulary);
  const past = makePast(size, length, random);
  const exact =
    flop > MOST_FLOP_TO_CHECK
      ? undefined
      : kind === 'encode'
        ? encoderReference(files, ids)
        : decoderReference(files, ids, past);
  const rival = library && (await openRival(library, files, workload, ids, past));
  const theirs = rival && turn(rival);
  const theirValues = rival && Float32Array.from(await rival.run());
  const opened = [];
  for (const build of builds) {
    const runtime = await openRuntime(build);
    const before = runtime.memory;
    const model = await load(runtime, files);
    const loaded = memoryOf(runtime, before, model);
    const cache = kind === 'encode' ? undefined : model.createCache();
    if (cache) fillCache(runtime, cache, size, past);
    const call = callOf(model, workload, ids, cache);
    const values = call();
    const used = memoryOf(runtime, before, model);
    const limit = () => peakOf(runtime);
    opened.push({
      build,
      runtime,
      memory: { loaded, afterFirstCall: used },
      accuracy: {
        ...(exact && errorOf(values, exact)),
        ...(theirValues && { fromRival: errorOf(values, theirValues).error }),
      },
      call: turn(kind === 'step' ? { run: call } : { run: call, limit }),
      parts: kind === 'encode' ? turn(openParts(runtime, files, tokens)) : undefined,
      reading: kind === 'step' ? turn(openReading(runtime, size, cache)) : undefined,
    });
  }
  await interleave([
    ...(theirs ? [theirs] : []),
    ...opened.flatMap(({ call, parts, reading }) => [
      call,
      ...[parts, reading].filter((one) => one !== undefined),
    ]),
  ]);
  const entries = opened.map(({ build, memory, accuracy, call, parts, reading }) => ({
    peer: OWN,
    variant: build,
    time: summarize(call.times),
    gflops: flop / summarize(call.times).median / 1e6,
    ...accuracy,
    memory,
    ...(call.limits.length > 0 && { share: shareOf(flop, call) }),
    ...(reading && { readShare: summarizeRatios(reading.times, call.times) }),
    ...(parts && { timeOverParts: summarizeRatios(call.times, parts.times) }),
    ...(theirs && { rivalOverOurs: summarizeRatios(theirs.times, call.times) }),
  }));
  if (rival && theirs) {
    const accuracy = exact && theirValues ? errorOf(theirValues, exact) : {};
    const summary = summarize(theirs.times);
    entries.push({
      peer: RIVAL,
      variant: rival.variant,
      time: summary,
      gflops: flop / summary.median / 1e6,
      ...accuracy,
    });
    await rival.dispose();
  }
  for (const { runtime } of opened) runtime.dispose();
  return { workload, entries };
}

/** Of the engine's multiply-adds, round by round. */
const shareOf = (flop, { times, limits }) =>
  summarize(times.map((each, round) => flop / each / 1e6 / limits[round]));

/** Cold starts of the smallest model, in turn, each in a process of its own. */
async function measureStarts(withPeers) {
  const { id, model, tokens } = MODEL_WORKLOADS[0];
  const program = fileURLToPath(new URL('models/start.mjs', import.meta.url));
  const names = ['ours', ...(withPeers ? variantsOf(MODEL_WORKLOADS[0]) : [])];
  const calls = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < STARTS; round++) {
    for (const name of names) {
      note(`  start ${round + 1} of ${STARTS}, ${name}`);
      const { stdout } = await promisify(execFile)(process.execPath, [program, model, String(tokens), name]);
      calls[name].push(JSON.parse(stdout));
    }
  }
  note('');
  return names.map((name) => ({
    workload: id,
    peer: name === 'ours' ? OWN : RIVAL,
    variant: name === 'ours' ? '' : name,
    firstResult: summarize(calls[name].map((call) => call.firstResult)),
    withImport: summarize(calls[name].map((call) => call.firstResult + call.import)),
  }));
}

/** @param {string[][]} rows the first is the head */
function printTable(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  for (const row of rows) {
    const cells = row.map((cell, column) =>
      column < 2 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]),
    );
    console.log(`  ${cells.join('  ').trimEnd()}`);
  }
}

function print({ workload, entries }) {
  console.log(`\n${workload.label} (${digits(workload.flop / 1e9)} GFLOP)`);
  const head = [
    '',
    '',
    'ms',
    'spread',
    'GFLOP/s',
    'share',
    `${RIVAL} / ours`,
    'over parts',
    'rms error',
    'largest',
  ];
  const exponent = (value) => (value === undefined ? '-' : value.toExponential(1));
  const ratio = (summary) => (summary ? digits(summary.median) : '-');
  printTable([
    head,
    ...entries.map((entry) => [
      entry.peer,
      entry.variant,
      digits(entry.time.median),
      percent(entry.time.spread),
      digits(entry.gflops),
      entry.readShare ? `${percent(entry.readShare.median)} r` : percent(entry.share?.median),
      ratio(entry.rivalOverOurs),
      entry.timeOverParts ? `${((entry.timeOverParts.median - 1) * 100).toFixed(1)} %` : '-',
      exponent(entry.rootMeanSquareError),
      exponent(entry.error),
    ]),
  ]);
  const [{ memory, fromRival }] = entries;
  if (fromRival !== undefined) console.log(`  largest difference between the two: ${exponent(fromRival)}`);
  const beyond = ({ weights, used, peak, capacity }) =>
    [used, peak, capacity].map((bytes) => percent(bytes / weights - 1)).join(', ');
  console.log(
    `  memory beyond ${digits(memory.loaded.weights / 1e6)} MB of weights (used, most so far, capacity): ` +
      `loaded ${beyond(memory.loaded)}; after a call ${beyond(memory.afterFirstCall)}`,
  );
}

const library = options['no-peers']
  ? undefined
  : await importRuntime().catch(() => console.log(`${RIVAL} is not installed: not compared.`));
const facts = {
  machine: describeMachine(),
  engine: describeEngine(),
  versions: { [OWN]: libraryVersion(), ...(library && { [RIVAL]: await packageVersion(RIVAL) }) },
};
console.log(
  `${facts.engine.name} ${facts.engine.version}, ${facts.machine.processor}; medians of ${rounds} interleaved rounds`,
);
const results = [];
const only = new RegExp(options.only);
const save = (starts = []) => {
  if (!options.json) return;
  const method = {
    call: 'ids in, a fresh array out; models loaded ahead',
    share:
      'of the f32x4 multiply-adds of the same build, before and after each call; readShare: of reading the same bytes',
    timeOverParts: 'of the whole encoder, over its products and attentions alone',
    memory: 'bytes of linear memory since before the model; weights: 4 bytes for each parameter',
    starts: 'model file in memory to the first result, each in a process of its own',
    rounds,
  };
  const file = {
    format: 'wasm-attention-models',
    date: new Date().toISOString(),
    ...facts,
    method,
    results,
    starts,
  };
  writeFileSync(options.json, `${JSON.stringify(file, null, 1)}\n`);
};
for (const workload of MODEL_WORKLOADS.filter(({ id }) => only.test(id))) {
  const result = await measure(workload, library);
  results.push(result);
  print(result);
  save();
}
if (only.test('start')) {
  const starts = await measureStarts(library !== undefined);
  console.log(`\nFrom a file in memory to the first result, ${MODEL_WORKLOADS[0].label}`);
  printTable([
    ['', '', 'ms', 'with import'],
    ...starts.map(({ peer, variant, firstResult, withImport }) => [
      peer,
      variant,
      digits(firstResult.median),
      digits(withImport.median),
    ]),
  ]);
  save(starts);
}
