// Threads in pages of Chromium: isolated, plain, under a content security policy, and from a main thread that may not sleep.

import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createRuntime, scaledDotProductAttention } from 'wasm-attention';
import type * as Main from 'wasm-attention';
import { WORD } from '../../src/runtime/threads/control.js';
import { ISOLATED, launchBrowser } from '../support/browser.mjs';
import { needs } from '../support/needs.js';

/** Runs in a page: attention on some threads, synchronous and asynchronous; what the runtime says, and the bits. */
async function attend(threads: Main.RuntimeOptions['threads'], build: 'simd') {
  const { main } = (globalThis as unknown as { entries: { main: typeof Main } }).entries;
  const runtime = await main.createRuntime({ threads, build });
  const length = 8 * 300 * 64;
  const inputs = [1, 2, 3].map((step) =>
    runtime.tensor(
      Float32Array.from({ length }, (_, i) => ((i * step * 37) % 101) / 50 - 1),
      [1, 8, 300, 64],
    ),
  ) as [Main.Tensor, Main.Tensor, Main.Tensor];
  const now = main.scaledDotProductAttention(...inputs).output.toFloat32Array();
  const later = (await main.scaledDotProductAttentionAsync(...inputs)).output.toFloat32Array();
  const { threads: count, threadsReason } = runtime.info;
  runtime.dispose();
  return { count, threadsReason, now: Array.from(now), later: Array.from(later) };
}

/** A worker that joins the first work, takes tiles, and ends: nobody tells a page of it. */
const DYING = `onmessage = ({ data: { control } }) => {
  const word = ${JSON.stringify(WORD)};
  const words = new Int32Array(control);
  const seen = Atomics.load(words, word.generation);
  postMessage({});
  Atomics.add(words, word.sleeping, 1);
  Atomics.wait(words, word.generation, seen);
  Atomics.add(words, word.running, 1);
  Atomics.add(words, word.next, words[word.step]);
  close();
};`;

/** Runs in a page: workers that die in the first call; what the calls come to, and after how many milliseconds. */
async function loseWorkers(dying: string) {
  const { main } = (globalThis as unknown as { entries: { main: typeof Main } }).entries;
  let started = 0;
  const worker = () =>
    new Worker(++started <= 2 ? URL.createObjectURL(new Blob([dying])) : '/dist/thread.js');
  const runtime = await main.createRuntime({ build: 'simd', threads: { count: 3, required: true, worker } });
  const data = Float32Array.from({ length: 4_000_000 }, (_, i) => ((i * 37) % 101) / 50 - 1);
  const x = runtime.tensor(data, [2000, 2000]);
  const start = performance.now();
  let code: string | undefined;
  try {
    main.softmax(x);
  } catch (error) {
    code = (error as Main.AttentionError).code;
  }
  const time = performance.now() - start;
  const { threads, threadsReason } = runtime.info;
  const sum = () =>
    main
      .softmax(x)
      .toFloat32Array()
      .reduce((total, value) => total + value, 0);
  const alone = sum();
  for (let tries = 0; tries < 100 && runtime.info.threads === 1; tries++)
    await new Promise((resolve) => setTimeout(resolve, 50));
  const again = { threads: runtime.info.threads, same: sum() === alone };
  runtime.dispose();
  return { code, time, threads, threadsReason, alone, again };
}

const hash = (values: number[]) =>
  createHash('md5')
    .update(Buffer.from(Float32Array.from(values).buffer))
    .digest('hex');

needs('Chromium').describe('in Chromium', () => {
  let browser: Awaited<ReturnType<typeof launchBrowser>>;
  let expected: string;

  beforeAll(async () => {
    browser = await launchBrowser();
    const runtime = await createRuntime({ build: 'simd' });
    const length = 8 * 300 * 64;
    const inputs = [1, 2, 3].map((step) =>
      runtime.tensor(
        Float32Array.from({ length }, (_, i) => ((i * step * 37) % 101) / 50 - 1),
        [1, 8, 300, 64],
      ),
    ) as [Main.Tensor, Main.Tensor, Main.Tensor];
    expected = hash(Array.from(scaledDotProductAttention(...inputs).output.data));
    runtime.dispose();
  });
  afterAll(() => browser.close());

  /** The same in a page with the given headers. */
  async function inPage(headers: Record<string, string>, threads: Main.RuntimeOptions['threads']) {
    const page = await browser.open(headers);
    await page.waitForFunction('globalThis.entries');
    const result = await page.evaluate<Awaited<ReturnType<typeof attend>>>(
      `(${attend.toString()})(${JSON.stringify(threads)}, 'simd')`,
    );
    await page.close();
    expect([hash(result.now), hash(result.later)]).toEqual([expected, expected]);
    return result;
  }

  it('has three threads on an isolated page, and the bits of Node', async () => {
    expect(await inPage(ISOLATED, { count: 3, required: true })).toMatchObject({
      count: 3,
      threadsReason: 'asked for',
    });
  });

  it('tells within a second of workers that died in the middle of a call, and goes on', async () => {
    const page = await browser.open(ISOLATED);
    await page.waitForFunction('globalThis.entries');
    const result = await page.evaluate<Awaited<ReturnType<typeof loseWorkers>>>(
      `(${loseWorkers.toString()})(${JSON.stringify(DYING)})`,
    );
    await page.close();
    expect(result).toMatchObject({ code: 'WORKER_LOST', threads: 1, again: { threads: 3, same: true } });
    expect(result.threadsReason).toMatch(/others are starting/);
    expect(result.alone).toBeCloseTo(2000, 1);
    expect(result.time).toBeLessThan(5000); // 700 ms and the work itself, on a machine that others use too
  });

  it('says on a plain page why it has one', async () => {
    const { count, threadsReason } = await inPage({}, 3);
    expect(count).toBe(1);
    expect(threadsReason).toMatch(/SharedArrayBuffer|isolated/);
  });

  it('says so where a policy forbids Blob workers, and takes the file instead', async () => {
    const policy = "default-src 'self' 'wasm-unsafe-eval' 'unsafe-eval'; worker-src 'self'";
    const headers = { ...ISOLATED, 'Content-Security-Policy': policy };
    const { count, threadsReason } = await inPage(headers, 2);
    expect(count).toBe(1);
    expect(threadsReason).toMatch(/worker/);
    expect(await inPage(headers, { count: 2, required: true, worker: '/dist/thread.js' })).toMatchObject({
      count: 2,
    });
  });
});
