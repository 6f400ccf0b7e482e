// The task that learns a book, on a text of this repository in the book's place: its vocabulary, its batches, a few steps, what it writes.

import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { createRuntime } from 'wasm-attention';
import { loadModel, model as modelPack } from 'wasm-attention/model';
import type { Model } from 'wasm-attention/model';
import { initialWeights, Random, train, training as trainingPack } from 'wasm-attention/training';
import { BATCH, config, LENGTH } from '../../learned/text/config.mjs';
import { readBook } from '../../learned/text/book.mjs';
import { allWindows, randomWindows, splitBook } from '../../learned/text/data.mjs';
import { makeTask } from '../../learned/text/task.mjs';
import { learnMerges, Tokenizer } from '../../learned/text/tokenizer.mjs';
import { hashOfWeights } from '../../learned/weights.mjs';
import { needs } from '../support/needs.js';

const license = readFileSync(new URL('../../LICENSE', import.meta.url), 'utf8');
const FIRST = 17;
const PARTS = 8;

/** Chapters 17 to 23 and an epilogue, so that one of them is held out. */
const book = Array.from({ length: PARTS }, (_, i) => {
  const [from, to] = [i, i + 1].map((part) => Math.round((part * license.length) / PARTS));
  const text = license.slice(from, to);
  return { chapter: i === PARTS - 1 ? 'Epilogue' : String(FIRST + i), title: `Part ${i}.`, text };
});

describe('the vocabulary', () => {
  const merges = learnMerges(license, 400);
  const tokenizer = new Tokenizer(merges);

  test('begins with the pair that is the most frequent within words, and grows pair by pair', () => {
    expect(merges.length).toBe(400 - 256);
    expect(tokenizer.size).toBe(400);
    merges.forEach((pair, i) => expect(Math.max(...pair)).toBeLessThan(256 + i));
    const text = license.replace(/\s+/g, ' ');
    const counts = new Map<string, number>();
    for (const [word] of text.matchAll(/ ?[A-Za-z]+/g))
      for (let i = 1; i < word.length; i++) {
        const pair = word.slice(i - 1, i + 1);
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    const [left, right] = learnMerges(text, 257)[0]!;
    const most = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a));
    expect(String.fromCharCode(left, right)).toBe(most[0]);
  });

  test('is a function of the text, and a larger one continues a smaller one', () => {
    expect(learnMerges(license, 300)).toEqual(merges.slice(0, 44));
  });

  test('ends where a text has no pairs left', () => {
    expect(learnMerges('abab', 300)).toEqual([
      [97, 98],
      [256, 256],
    ]);
    expect(learnMerges('', 300)).toEqual([]);
  });

  test('writes any text as tokens, which are that text again', () => {
    const texts = fc.string({ unit: 'grapheme', maxLength: 60 });
    fc.assert(
      fc.property(texts, (text) => {
        const tokens = tokenizer.encode(text);
        expect(tokens.every((token) => token >= 0 && token < tokenizer.size)).toBe(true);
        expect(tokenizer.decode(tokens)).toBe(text);
      }),
    );
    expect(tokenizer.decode(tokenizer.encode(license))).toBe(license);
    expect(tokenizer.encode(license).length).toBeLessThan(license.length / 1.8);
  });

  test('merges in the order of the list, not from left to right', () => {
    const own = new Tokenizer([
      [98, 99], // bc
      [97, 98], // ab
    ]);
    expect(own.encode('abc')).toEqual([97, 256]);
    expect(own.encode('abbc')).toEqual([257, 256]);
  });

  test('names what it cannot take', () => {
    expect(() => tokenizer.decode([400])).toThrow('tokens: expected integers from 0 to 399, got 400');
    expect(() => learnMerges(license, 255)).toThrow('size: expected an integer from 256 to 65536, got 255');
  });
});

describe('the data', () => {
  const tokens = Int32Array.from({ length: 1000 }, (_, i) => i);
  const sizes = { batch: 4, length: 16 };

  test('windows of a step are a function of seed and step; labels are the next tokens', () => {
    const { inputs, labels } = randomWindows(tokens, new Random(3, 7), sizes);
    expect(randomWindows(tokens, new Random(3, 7), sizes)).toEqual({ inputs, labels });
    expect(randomWindows(tokens, new Random(3, 8), sizes).labels).not.toEqual(labels);
    expect(randomWindows(tokens, new Random(4, 7), sizes).labels).not.toEqual(labels);
    expect(inputs.inputIds.length).toBe(sizes.batch);
    expect([...labels]).toEqual(inputs.inputIds.flatMap((ids) => Array.from(ids, (id) => id + 1)));
  });

  test('the last token of a text is read, as a label', () => {
    const short = tokens.subarray(0, sizes.length + 1);
    const { labels } = randomWindows(short, new Random(1, 1), sizes);
    expect([...labels].slice(0, sizes.length)).toEqual(Array.from({ length: sizes.length }, (_, i) => i + 1));
  });

  test('what is measured are all windows, each token once', () => {
    const batches = allWindows(tokens.subarray(0, 100), sizes);
    expect(batches.map(({ inputs }) => inputs.inputIds.length)).toEqual([4, 2]);
    expect(batches.flatMap(({ labels }) => [...labels])).toEqual(Array.from({ length: 96 }, (_, i) => i + 1));
  });

  test('chapters are learnt or held out, with their headings', () => {
    const { learnt, heldOut } = splitBook(book);
    expect(heldOut).toBe(`CHAPTER 20. Part 3.\n\n${book[3]!.text}\n\n`);
    expect(learnt).toContain('CHAPTER 17. Part 0.\n\n');
    expect(learnt.endsWith(`${book.at(-1)!.text}\n\n`)).toBe(true);
    expect(learnt).not.toContain('CHAPTER 20.');
  });
});

/** Some steps of a task, and what is asked of the model then. */
async function learn<Result>(
  task: ReturnType<typeof makeTask>,
  { steps, threads }: { steps: number; threads: number },
  then: (model: Model) => Promise<Result> | Result,
) {
  const packs = [modelPack, trainingPack];
  const count = { count: threads, required: true };
  const runtime = await createRuntime({ build: 'simd', packs, ...(threads > 1 && { threads: count }) });
  try {
    const weights = await initialWeights({ config, seed: task.seed });
    const model = await loadModel({ config, weights, runtime });
    const training = train({
      ...{ model, data: task.data, steps, seed: task.seed },
      ...task.settings,
    });
    const losses: number[] = [];
    for await (const { loss } of training) losses.push(loss);
    return { losses, hash: await hashOfWeights(training.learner), result: await then(model) };
  } finally {
    runtime.dispose();
  }
}

describe('the task', () => {
  const task = makeTask(book);
  const steps = 3;

  test('reads as much as its sizes say', () => {
    const { inputs, labels } = task.data(1, new Random(1, 1)) as ReturnType<typeof randomWindows>;
    expect(inputs.inputIds.map(({ length }) => length)).toEqual(new Array(BATCH).fill(LENGTH));
    expect(labels.length).toBe(BATCH * LENGTH);
    expect(task.tokenizer.size).toBeLessThanOrEqual(config.vocab_size);
  });

  test('begins at a guess, gets better, and has the same bits on one thread and on two', async () => {
    const one = await learn(task, { steps, threads: 1 }, (model) => task.measure(model));
    const two = await learn(task, { steps, threads: 2 }, (model) => task.measure(model));
    expect(two).toEqual(one);
    expect(Math.abs(one.losses[0]! - Math.log(config.vocab_size))).toBeLessThan(0.2);
    expect(one.losses[2]).toBeLessThan(one.losses[0]!);
    for (const { value } of Object.values(one.result)) expect(Number.isFinite(value)).toBe(true);
  });

  test('writes on from a prompt, beyond the positions that it knows, and the same each time', async () => {
    const read = async (model: Model, prompt?: string) => {
      const pieces: string[] = [];
      for await (const piece of task.write!(model, prompt)) pieces.push(piece);
      return pieces;
    };
    const { result } = await learn(task, { steps, threads: 1 }, async (model) => [
      await read(model, 'You may'),
      await read(model, 'You may'),
      await read(model, license), // of a long one the end counts
      await read(model),
    ]);
    const [first, again, long, own] = result as [string[], string[], string[], string[]];
    expect(first[0]).toBe('You may');
    expect(first.length).toBeGreaterThan(LENGTH);
    expect(again).toEqual(first);
    expect(long[0]).toBe(license);
    expect(long.length).toBeGreaterThan(2);
    expect(own[0]).toBe('Call me Ishmael.');
  });
});

needs('book').it(
  'the book is the one that was learnt: after twenty steps the weights are those on record',
  async () => {
    const task = makeTask(readBook());
    expect(task.title).toContain('358,225 tokens');
    expect(task.heldOut.flatMap(({ inputs }) => inputs.inputIds).length).toBe(112);
    const { hash } = await learn(task, { steps: 20, threads: 2 }, () => undefined);
    expect(hash).toBe(task.hashes[20]);
  },
);
