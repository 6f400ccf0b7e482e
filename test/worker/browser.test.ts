// The worker runtime in Chromium: isolated and plain pages, the sources a worker can have, and a page that stays alive.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Page } from 'playwright-core';
import { ISOLATED, launchBrowser } from '../support/browser.mjs';
import { needs } from '../support/needs.js';

/** What pages have: see browser.mjs. */
declare const entries: {
  main: typeof import('wasm-attention');
  workerRuntime: typeof import('wasm-attention/worker-runtime');
};

needs('Chromium').describe('in Chromium', () => {
  let browser: Awaited<ReturnType<typeof launchBrowser>>;
  beforeAll(async () => {
    browser = await launchBrowser();
  });
  afterAll(() => browser.close());

  describe.each([
    ['an isolated page', ISOLATED],
    ['a plain page', {}],
  ])('%s', (_, headers) => {
    let page: Page;
    beforeAll(async () => {
      page = await browser.open(headers);
    });
    afterAll(() => page.close());

    it('gets the results of the package itself', async () => {
      const seen = await page.evaluate(async () => {
        const { createWorkerRuntime, causal } = entries.workerRuntime;
        const sync = entries.main;
        const data = Float32Array.from({ length: 4 * 200 * 32 }, (_, i) => Math.sin(i));
        const input = { data, shape: [1, 4, 200, 32] };
        const runtime = await createWorkerRuntime();
        const { output } = await runtime.scaledDotProductAttention(input, input, input, { mask: causal() });
        const received = await output.read();
        const here = await sync.createRuntime();
        const options = { causal: true, runtime: here };
        const expected = sync.scaledDotProductAttention(input, input, input, options).output.data;
        const error = await runtime.softmax({ data, shape: [3] }).catch((reason: unknown) => reason);
        runtime.dispose();
        return {
          isolated: crossOriginIsolated,
          same: received.length === expected.length && received.every((x, i) => x === expected[i]),
          isTyped: error instanceof sync.AttentionError && error.code,
          afterwards: await runtime.memory().catch(({ code }: { code: string }) => code),
        };
      });
      expect(seen).toEqual({
        isolated: headers === ISOLATED,
        same: true,
        isTyped: 'INVALID_SHAPE',
        afterwards: 'DISPOSED',
      });
    });

    it('goes on while an operation runs, which can be aborted', async () => {
      const seen = await page.evaluate(async () => {
        const { createWorkerRuntime } = entries.workerRuntime;
        const runtime = await createWorkerRuntime();
        const x = await runtime.tensor(new Float32Array(8 * 4096 * 64), [1, 8, 4096, 64]);
        let timers = 0;
        const timer = setInterval(() => timers++, 10);
        const control = new AbortController();
        const progress: number[] = [];
        const error: unknown = await runtime
          .scaledDotProductAttention(x, x, x, {
            signal: control.signal,
            onProgress: ({ done, total }) => {
              progress.push(done / total);
              if (timers >= 10) control.abort('enough');
            },
          })
          .catch((reason: unknown) => reason);
        clearInterval(timer);
        runtime.dispose();
        return { error, timers, rises: progress.every((share, i) => i === 0 || share >= progress[i - 1]!) };
      });
      expect(seen.error).toBe('enough');
      expect(seen.timers).toBeGreaterThanOrEqual(10);
      expect(seen.rises).toBe(true);
    });

    it('has threads where memory may be shared, else says why not', async () => {
      const { threads, reason, sum } = await page.evaluate(async () => {
        const runtime = await entries.workerRuntime.createWorkerRuntime({ threads: 2 });
        const x = { data: new Float32Array(4 * 700 * 64).fill(1), shape: [1, 4, 700, 64] };
        const { output } = await runtime.scaledDotProductAttention(x, x, x, { read: true });
        const sum = (await output.read()).reduce((a, b) => a + b, 0);
        runtime.dispose();
        return { threads: runtime.info.threads, reason: runtime.info.threadsReason, sum };
      });
      expect(threads).toBe(headers === ISOLATED ? 2 : 1);
      expect(reason).toMatch(headers === ISOLATED ? /asked for/ : /not cross-origin isolated/);
      expect(sum).toBe(4 * 700 * 64);
    });

    it('takes its worker from an address or a function', async () => {
      const builds = await page.evaluate(async () => {
        const { createWorkerRuntime } = entries.workerRuntime;
        const sources = [
          '/dist/worker.mjs',
          new URL('/dist/worker.mjs', location.href),
          () => new Worker('/dist/worker.mjs'),
          () => new Worker('/dist/worker.mjs', { type: 'module' }),
        ];
        const found: string[] = [];
        for (const worker of sources) {
          const runtime = await createWorkerRuntime({ worker, deterministic: true });
          found.push(runtime.info.build);
          runtime.dispose();
        }
        return found;
      });
      expect(builds.map((build) => build.slice(0, 4))).toEqual(['simd', 'simd', 'simd', 'simd']);
    });

    it('says why there is no worker', async () => {
      const error = await page.evaluate(async () => {
        const { createWorkerRuntime } = entries.workerRuntime;
        const { code, message } = await createWorkerRuntime({ worker: '/dist/nothing.mjs' }).then(
          () => ({ code: 'none', message: '' }),
          (reason: { code: string; message: string }) => reason,
        );
        return { code, message };
      });
      expect(error.code).toBe('UNSUPPORTED');
      expect(error.message).toMatch(/could not be loaded/);
    });
  });

  it('a content security policy that allows no blob: workers', async () => {
    const page = await browser.open({
      'Content-Security-Policy': "script-src 'self' 'unsafe-eval' 'wasm-unsafe-eval'; worker-src 'self'",
    });
    const seen = await page.evaluate(async () => {
      const { createWorkerRuntime } = entries.workerRuntime;
      const error = await createWorkerRuntime().then(
        () => ({ code: 'none', message: '' }),
        (reason: { code: string; message: string }) => reason,
      );
      const runtime = await createWorkerRuntime({ worker: '/dist/worker.mjs' });
      return { code: error.code, message: error.message, memory: (await runtime.memory()).handles };
    });
    expect(seen.code).toBe('UNSUPPORTED');
    expect(seen.message).toMatch(/Content-Security-Policy/);
    expect(seen.memory).toBe(0);
    await page.close();
  });
});
