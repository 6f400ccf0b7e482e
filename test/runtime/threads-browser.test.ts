// Threads in pages of Chromium: isolated, plain, under a content security policy, and from a main thread that may not sleep.

import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRuntime, scaledDotProductAttention } from 'wasm-attention';
import type * as Main from 'wasm-attention';
import { hasChromium, ISOLATED, launchBrowser } from '../support/browser.mjs';

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

const hash = (values: number[]) =>
  createHash('md5')
    .update(Buffer.from(Float32Array.from(values).buffer))
    .digest('hex');

describe.skipIf(!hasChromium)('in Chromium', () => {
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
