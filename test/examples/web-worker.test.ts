// examples/web-worker in Chromium, served as `npm start` serves it: with the headers for threads, and without.

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRuntime, scaledDotProductAttention } from 'wasm-attention';
import { launchChromium } from '../support/browser.mjs';
import { installExample, removeExamples } from '../support/example.mjs';
import { needs } from '../support/needs.js';

/** The last channels that the page should show for 2048 tokens: its numbers, attended to here. */
async function expectedChannels(): Promise<string[]> {
  let state = 1;
  const numbers = Float32Array.from(
    { length: 8 * 2048 * 64 },
    () => (state = (Math.imul(state, 1664525) + 1013904223) | 0) / 2 ** 31,
  );
  const runtime = await createRuntime();
  const x = runtime.tensor(numbers, [1, 8, 2048, 64]);
  const { output } = scaledDotProductAttention(x, x, x, { causal: true });
  const last = Array.from(output.data.slice(-3), (value) => value.toFixed(3));
  runtime.dispose();
  return last;
}

needs('Chromium').describe('in Chromium', () => {
  let browser: Awaited<ReturnType<typeof launchChromium>>;
  let folder: string;
  beforeAll(async () => {
    folder = installExample('web-worker');
    browser = await launchChromium();
  });
  afterAll(async () => {
    await browser.close();
    removeExamples();
  });

  describe.each(['1', '0'])('ISOLATED=%s', (ISOLATED) => {
    let server: ChildProcess;
    let page: Page;
    const errors: string[] = [];
    beforeAll(async () => {
      server = spawn(process.execPath, ['serve.mjs'], {
        cwd: folder,
        env: { ...process.env, PORT: '0', ISOLATED },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const address = await new Promise<string>((resolve) =>
        server.stdout!.once('data', (chunk) => resolve(String(chunk).trim())),
      );
      page = await browser.newPage();
      page.on('pageerror', ({ message }) => errors.push(message));
      await page.goto(address);
      await page.waitForSelector('#start:enabled');
    });
    afterAll(async () => {
      await page.close();
      server.kill();
      expect(errors).toEqual([]);
    });

    it('says what it runs on', async () => {
      const expected = ISOLATED === '1' ? /build, \d+ threads? \(there/ : /build, 1 thread \(.*isolated/;
      expect(await page.textContent('#runtime')).toMatch(expected);
    });

    it('shows the progress, frames meanwhile, and the result', async () => {
      await page.selectOption('#tokens', '2048');
      await page.click('#start');
      await page.waitForSelector('#start:enabled');
      const result = await page.textContent('#result');
      expect(result).toMatch(/^2048 tokens in \d/);
      expect(result!.split(': ')[1]!.split(', ')).toEqual(await expectedChannels());
      expect(await page.evaluate(() => document.querySelector('progress')!.value)).toBe(1);
      const [time, frames, longest] = await page.locator('#worker td').allTextContents();
      expect(time).toMatch(/^\d+\.\d\d s$/);
      expect(Number(frames)).toBeGreaterThan(0);
      expect(longest).toMatch(/^\d+ ms$/);
    });

    it('does the same on its own thread, where no frame is shown meanwhile', async () => {
      expect(await page.locator('#page td').allTextContents()).toEqual(['-', '-', '-']);
      await page.selectOption('#tokens', '2048');
      await page.click('#block');
      await page.waitForSelector('#block:enabled');
      const result = await page.textContent('#result');
      expect(result!.split(': ')[1]!.split(', ')).toEqual(await expectedChannels());
      const [, frames, longest] = await page.locator('#page td').allTextContents();
      expect(frames).toBe('0');
      expect(longest).toMatch(/^\d+ ms$/);
    });

    it('fits a phone', async () => {
      await page.setViewportSize({ width: 360, height: 700 });
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
      await page.setViewportSize({ width: 1280, height: 720 });
    });

    it('aborts, and starts again', async () => {
      await page.selectOption('#tokens', '16384');
      await page.click('#start');
      await page.waitForFunction(() => document.querySelector('progress')!.value > 0);
      await page.click('#abort');
      await page.waitForSelector('#start:enabled');
      expect(await page.textContent('#result')).toMatch(/^aborted after/);
      expect(await page.evaluate(() => document.querySelector('progress')!.value)).toBeLessThan(1);
      await page.selectOption('#tokens', '2048');
      await page.click('#start');
      await page.waitForSelector('#start:enabled');
      expect(await page.textContent('#result')).toMatch(/^2048 tokens in/);
    });
  });
});
