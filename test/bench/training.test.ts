// The benchmark of training: its step is the same step through this library and through its peers.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { createRuntime } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import { model as kernels } from 'wasm-attention/model';
import { training } from 'wasm-attention/training';
import type { Size } from '../../bench/models/checkpoint.mjs';
import { backwardFlop, LONG_ATTENTION, openAttention, scratchOf } from '../../bench/training/attention.mjs';
import { clockKernels, openLoop, openTraining } from '../../bench/training/ours.mjs';
import { DECODER, flopOf, makeTask, namesOf } from '../../bench/training/workloads.mjs';
import { needs } from '../support/needs.js';

const size: Size = {
  family: 'gpt2',
  layers: 2,
  width: 32,
  heads: 4,
  inner: 64,
  vocabulary: 50,
  positions: 12,
};
const task = makeTask({ label: '', size, batch: 2, length: size.positions });
const STEPS = 5;

let runtime: Runtime;
let losses: number[];
beforeAll(async () => {
  runtime = await createRuntime({ packs: [kernels, training] });
  const { used } = runtime.memory;
  const opened = await openTraining(runtime, task);
  losses = Array.from({ length: STEPS }, () => opened.step());
  opened.dispose();
  expect(runtime.memory.used).toBe(used);
});
afterAll(() => runtime.dispose());

const apart = (others: number[]) => {
  expect(others.length).toBe(STEPS);
  return Math.max(...others.map((loss, i) => Math.abs(loss - losses[i]!)));
};

test('what counts is products and attention, three times those of a forward pass', () => {
  expect((flopOf(DECODER) / 1e9).toFixed(1)).toBe('43.5');
  expect((backwardFlop(LONG_ATTENTION) / 1e12).toFixed(2)).toBe('1.03');
});

test('the names are those of all tensors of the model', () => {
  const { files } = task;
  const count = namesOf(size).reduce((sum, name) => sum + files.tensor(name).data.length, 0);
  const headerBytes = new DataView(files.file.buffer).getUint32(0, true);
  expect(4 * count).toBe(files.file.length - 8 - headerBytes);
});

test('each token is the label of the one before it', () => {
  const { ids, labels, length } = task;
  for (let i = 0; i < ids.length; i++) if ((i + 1) % length > 0) expect(labels[i]).toBe(ids[i + 1]);
});

test('the loss begins near that of a guess, and falls at each step', () => {
  expect(Math.abs(losses[0]! - Math.log(size.vocabulary))).toBeLessThan(1);
  for (let step = 1; step < STEPS; step++) expect(losses[step]).toBeLessThan(losses[step - 1]!);
});

test('`train` takes the same step', async () => {
  const own = await createRuntime({ packs: [kernels, training] });
  const { used } = own.memory;
  const opened = await openLoop(own, task);
  const found: number[] = [];
  for (let step = 0; step < STEPS; step++) found.push((await opened.step()) as number);
  expect(apart(found)).toBeLessThan(1e-6);
  opened.dispose();
  expect(own.memory.used).toBe(used);
  own.dispose();
});

test('recomputation and clocks around kernels change nothing, and the clocks see all parts', async () => {
  const own = await createRuntime({ packs: [kernels, training] });
  const opened = await openTraining(own, task, { recompute: true });
  const { spent, enter } = clockKernels(own);
  expect(Array.from({ length: STEPS }, () => opened.step(enter))).toEqual(losses);
  const parts = new Set([...spent.values()].map(({ part }) => part));
  for (const part of ['products, forward', 'attention, backward', 'loss', 'optimiser'])
    expect(parts).toContain(part);
  own.dispose();
});

test('attention alone runs there and back, and tells its scratch memory', async () => {
  const own = await createRuntime({ packs: [kernels, training] });
  const shape = { heads: 2, dim: 16, length: 40, causal: true };
  const { used } = own.memory;
  const opened = openAttention(own, shape);
  opened.forward();
  opened.backward();
  opened.dispose();
  expect(own.memory.used).toBe(used);
  own.dispose();
  const fresh = await createRuntime({ packs: [kernels, training] });
  const scratch = scratchOf(fresh, shape);
  expect(scratch).toBeGreaterThan(0);
  expect(scratch).toBeLessThan(2 ** 20);
  fresh.dispose();
});

needs('bench', 'Node-22').it('jax-js takes the same step', async () => {
  const jax = await import('../../bench/training/jax-js.mjs');
  const opened = jax.openTraining(await jax.importLibrary(), task);
  const own = [];
  for (let step = 0; step < STEPS; step++) own.push(await opened.step());
  expect(apart(own)).toBeLessThan(1e-3);
  opened.dispose();
});

needs('bench').it('TensorFlow.js takes the same step', async () => {
  const tensorflow = await import('../../bench/training/tensorflow.mjs');
  const opened = tensorflow.openTraining(await tensorflow.importLibrary(), task);
  const own = [];
  for (let step = 0; step < STEPS; step++) own.push(await opened.step());
  expect(apart(own)).toBeLessThan(1e-3);
  opened.dispose();
});
