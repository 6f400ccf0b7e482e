// What learns induction: the weights that are kept are those on record and do what they have to; the same steps give the same weights, on
// one thread or two, at once or stopped and resumed. CI trains all of it anew: `npm run train -- induction --check`.

import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRuntime } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import { headMeasures } from 'wasm-attention/measures';
import { loadModel, model as modelPack } from 'wasm-attention/model';
import type { Model } from 'wasm-attention/model';
import { AdamW, initialWeights, Random, train, Trainable, training } from 'wasm-attention/training';
import type { Training } from 'wasm-attention/training';
import {
  batchOf,
  LENGTH,
  sequencesWithRepeats,
  toldPlaces,
  VOCABULARY,
} from '../../learned/induction/data.mjs';
import { task } from '../../learned/induction/task.mjs';
import { hashOfWeights } from '../../learned/weights.mjs';
import { needs } from '../support/needs.js';

const file = (path: string) => fileURLToPath(new URL(`../../learned/${path}`, import.meta.url));
const { config, families, data, settings } = task;
/** Steps that have a hash of their own on record, as they are soon taken. */
const FIRST = 50;

/** A training from the seed of the task, in a runtime that the caller disposes. */
async function begin(
  threads: number,
  options: object = {},
): Promise<{ runtime: Runtime; training: Training }> {
  const runtime = await createRuntime({ build: 'simd', threads, packs: [modelPack, training] });
  const weights = await initialWeights({ config, seed: task.seed, families });
  const model = await loadModel({ config, weights, runtime, families });
  return {
    runtime,
    training: train({ model, data, seed: task.seed, steps: FIRST, ...settings, ...options }),
  };
}

/** Takes steps to the end, or until so many were taken in all. */
async function take(learning: Training, until = Infinity): Promise<void> {
  for await (const { step } of learning) if (step === until) break;
}

/** The checkpoint after some steps; by another learning rate what it should not be. */
async function checkpointAfter(steps: number, options: object = {}): Promise<Uint8Array> {
  const { runtime, training: learning } = await begin(1, options);
  await take(learning, steps);
  const checkpoint = await learning.checkpoint();
  runtime.dispose();
  return checkpoint;
}

describe('sequences', () => {
  const sequences = sequencesWithRepeats(new Random(3), 300);

  it('repeat a segment, whose tokens have one earlier occurrence', () => {
    for (const { ids, first, second, length } of sequences) {
      expect(ids.length).toBe(LENGTH);
      expect(ids.every((id) => Number.isInteger(id) && id >= 0 && id < VOCABULARY)).toBe(true);
      expect(second).toBeGreaterThanOrEqual(first + length);
      expect(second + length).toBeLessThanOrEqual(LENGTH);
      expect(ids.slice(second, second + length)).toEqual(ids.slice(first, first + length));
      expect(new Set(ids).size).toBe(LENGTH - length);
    }
    expect(new Set(sequences.map(({ first, second }) => second - first)).size).toBeGreaterThan(10);
  });

  it('have labels where the next token can be told, and nowhere else', () => {
    const { inputs, labels } = batchOf(sequences);
    sequences.forEach((sequence, row) => {
      const told = new Map(Array.from(toldPlaces(sequence), ({ place, earlier }) => [place, earlier]));
      expect(told.size).toBe(sequence.length - 1);
      const ids = inputs.inputIds[row]!;
      labels[row]!.forEach((label: number, place: number) => {
        const earlier = told.get(place);
        expect(label).toBe(earlier === undefined ? -100 : ids[place + 1]);
        if (earlier === undefined) return;
        expect(ids.indexOf(ids[place]!)).toBe(earlier);
        expect(label).toBe(ids[earlier + 1]);
      });
    });
  });
});

describe('the weights that are kept', () => {
  let runtime: Runtime;
  let model: Model;
  beforeAll(async () => {
    runtime = await createRuntime({ build: 'simd', packs: [modelPack, training] });
    model = await loadModel({
      config: JSON.parse(readFileSync(file('induction/config.json'), 'utf8')) as object,
      weights: readFileSync(file('induction/model.safetensors')),
      ...{ runtime, families },
    });
  });
  afterAll(() => runtime.dispose());

  it('are those on record, and small', async () => {
    expect(JSON.parse(readFileSync(file('induction/config.json'), 'utf8'))).toEqual(config);
    expect(await hashOfWeights(new Trainable(model))).toBe(task.hashes[task.steps]);
    expect(readFileSync(file('induction/model.safetensors')).length).toBeLessThan(500_000);
  });

  it('reach every bar', async () => {
    const measures = await task.measure(model);
    expect(Object.keys(measures).length).toBe(2);
    for (const [name, { value, bar }] of Object.entries(measures)) expect(value, name).toBeGreaterThan(bar);
  });

  it('have heads that others know by what they do: the token before in layer 1, induction in layer 2', () => {
    const inputIds = sequencesWithRepeats(new Random(17), 8).map(({ ids }) => ids);
    const { records } = model.forward({ inputIds }, { returnRecord: true, logits: 'none' });
    const found = headMeasures(records!, { inputIds });
    const labelsOf = (layer: number) =>
      found.filter((each) => each.layer === layer).map(({ labels }) => labels);
    expect(labelsOf(0).flat()).toContain('previous token');
    expect(labelsOf(1).every((labels) => labels.includes('induction'))).toBe(true);
  });

  it('are named in the card', () => {
    const card = readFileSync(file('induction/README.md'), 'utf8');
    for (const hash of Object.values(task.hashes)) expect(card).toContain(hash);
  });
});

describe(`the first ${FIRST} steps`, () => {
  it.each([1, 2])('give the weights on record on %i threads', async (threads) => {
    const { runtime, training: learning } = await begin(threads);
    await take(learning);
    expect(await hashOfWeights(learning.learner)).toBe(task.hashes[FIRST]);
    runtime.dispose();
  });

  it('give them if they are stopped, and resumed elsewhere', async () => {
    const resume = await checkpointAfter(19);
    const { runtime, training: learning } = await begin(2, { resume });
    await take(learning);
    expect(await hashOfWeights(learning.learner)).toBe(task.hashes[FIRST]);
    runtime.dispose();
  });
});

describe('npm run train', () => {
  const folder = mkdtempSync(join(tmpdir(), 'wasm-attention-learned-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [file('main.mjs'), ...args], {
      encoding: 'utf8',
      env: { ...process.env, FORCE_COLOR: '0' },
    });

  it('trains anew, and finds the hash on record', () => {
    const { stdout, stderr, status } = run('induction', '--check', '--steps', `${FIRST}`);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toBe(task.title);
    expect(lines.at(-1)).toBe('  as on record');
    expect(
      lines.filter((line) => /^ {2}step \d+\/50 .* loss \d+\.\d{3} .* induction head 0\.\d\d/.test(line))
        .length,
    ).toBe(21);
  });

  it('ends with status 1 if the weights differ', async () => {
    const checkpoint = join(folder, 'other');
    const optimizer = (learner: Trainable) => new AdamW(learner, { learningRate: 1e-3 });
    writeFileSync(checkpoint, await checkpointAfter(FIRST - 1, { optimizer }));
    const { stdout, status } = run('induction', '--check', '--steps', `${FIRST}`, '--resume', checkpoint);
    expect(stdout).toContain(`on record is ${task.hashes[FIRST]}`);
    expect(status).toBe(1);
  });

  needs('POSIX').it('leaves a checkpoint on Ctrl-C, from which it goes on', async () => {
    const checkpoint = join(folder, 'stopped');
    const child = spawn(process.execPath, [file('main.mjs'), 'induction', '--checkpoint', checkpoint]);
    let shown = '';
    const ended = new Promise((resolve) => child.on('close', resolve));
    child.stdout.on('data', (part) => {
      if (shown === '') setTimeout(() => child.kill('SIGINT'), 200);
      shown += String(part);
    });
    expect(await ended).toBe(0);
    const step = Number(/Stopped after step (\d+)\.\n$/.exec(shown)?.[1]);
    expect(step).toBeGreaterThan(0);
    expect(step).toBeLessThan(task.steps);
    if (step > FIRST) return; // a fast machine
    const { stdout, status } = run('induction', '--check', '--steps', `${FIRST}`, '--resume', checkpoint);
    expect(stdout).toContain('as on record');
    expect(status).toBe(0);
  });

  it.each([
    [[], 'which task?'],
    [['juggling'], "there is no task 'juggling'"],
    [['induction', '--steps', '0'], '--steps takes a whole number'],
    [['induction', '--threads', 'many'], '--threads takes a whole number'],
    [['induction', '--steps', '7', '--check'], 'on record are the weights after 50, 600 steps'],
    [['induction', '--seed', '2', '--check'], 'no --seed with --check'],
    [['induction', '--steps', '9', '--save'], 'no --steps with --save'],
    [['induction', '--fast'], "Unknown option '--fast'"],
    [['induction', '--resume', join(folder, 'nowhere')], 'there is no file'],
  ])('says what is wrong with %j', (args, message) => {
    const { stderr, status } = run(...args);
    expect(stderr).toMatch(/^train: [^\n]*\n$/);
    expect(stderr).toContain(message);
    expect(status).toBe(2);
  });

  it('helps', () => {
    const { stdout, status } = run('--help');
    expect(status).toBe(0);
    expect(stdout).toContain('npm run train -- TASK');
  });
});
