// The benchmark page in real browsers: run, cancel, download, share, damaged links, without isolation.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { buildPage } from '../../bench/page/build.mjs';
import { servePage } from '../../bench/page/server.mjs';
import { makeReport } from '../../bench/report/document.mjs';
import { readRuns } from '../../bench/report/figures.mjs';
import { resultFileReader } from '../../bench/suite/validate.mjs';
import { visit } from '../matrix/browsers.mjs';
import { launchChromium } from '../support/browser.mjs';
import { needs } from '../support/needs.js';

const schema = JSON.parse(
  readFileSync(new URL('../../bench/suite/result.schema.json', import.meta.url), 'utf8'),
) as object;
const readResults = resultFileReader(schema);

const folder = mkdtempSync(join(tmpdir(), 'wasm-attention-page-'));
let serving: Awaited<ReturnType<typeof servePage>>;

needs('bench').describe('the benchmark page', () => {
  beforeAll(async () => {
    await buildPage(folder);
    serving = await servePage(folder);
  });
  afterAll(() => {
    serving.close();
    rmSync(folder, { recursive: true });
  });

  needs('Chromium').describe('in Chromium', () => {
    let browser: Browser;
    let context: BrowserContext;
    let page: Page;

    beforeAll(async () => {
      browser = await launchChromium();
      context = await browser.newContext({ permissions: ['clipboard-read', 'clipboard-write'] });
      page = await context.newPage();
      await page.goto(serving.address);
      await page.waitForSelector('#threads option', { state: 'attached' });
    });
    afterAll(() => browser?.close());

    /** Ticks exactly these workloads. */
    async function choose(...ids: string[]) {
      if (!(await page.isVisible('#groups'))) await page.click('#settings > summary');
      await page.click('[data-choose=none]');
      for (const details of await page.locator('#choices details').all())
        await details.evaluate((element) => ((element as unknown as { open: boolean }).open = true));
      for (const id of ids) await page.check(`[value="${id}"]`);
    }

    const message = () => page.textContent('#message');
    const ended = (text: RegExp) => expect.poll(message, { timeout: 60_000, interval: 100 }).toMatch(text);

    it('runs what is chosen, and shows it as numbers and plots', async () => {
      await choose(
        'layer-d64-h4-n16',
        'product-8x768x768',
        'growth-length-h1-dh64-n64',
        'growth-length-h1-dh64-n256',
        'growth-length-h1-dh64-n128',
      );
      await page.selectOption('#threads', { index: 1 });
      await page.check('[name=peer][value=plain-javascript]');
      await page.uncheck('[name=peer][value=onnxruntime-web]');
      await page.focus('#run');
      await page.keyboard.press('Enter');
      await ended(/^Done: 5 workloads/);
      const table = await page.textContent('#table');
      expect(table).toContain('Linear, 8 rows, 768 to 768');
      expect(table).toContain('simd 2 threads');
      expect(await page.textContent('#headline')).toMatch(
        /^plain JavaScript takes [\d.]+ times as long as wasm-attention/,
      );
      const titles = await page.locator('#plots figcaption').allTextContents();
      expect(titles).toEqual([
        'Time of others relative to wasm-attention, quartiles over the rounds',
        'How much of what this engine can do is used, quartiles over the rounds',
        'The relaxed build against the simd build',
        'Several threads against one',
        'Time against the number of tokens',
      ]);
      expect(await page.locator('#plots svg [aria-label=dot] path').count()).toBeGreaterThan(10);
    });

    it('downloads a result file that keeps to the schema', async () => {
      const [download] = await Promise.all([page.waitForEvent('download'), page.click('#download')]);
      expect(download.suggestedFilename()).toMatch(/^wasm-attention-Chromium-\d{4}-\d\d-\d\d\.json$/);
      const file = readResults(readFileSync(await download.path(), 'utf8'), 'the download');
      expect(file.engine.name).toBe('Chromium');
      expect(file.results.map(({ workload }) => workload.id)).toContain('layer-d64-h4-n16');
      for (const { entries } of file.results)
        for (const entry of entries) expect(entry).toMatchObject({ state: 'measured' });
      const peers = (group: string) =>
        file.results
          .filter(({ workload }) => workload.group === group)
          .flatMap(({ entries }) => entries.map(({ peer }) => peer));
      expect(peers('layer')).toContain('plain-javascript');
      expect(peers('growth-length')).not.toContain('plain-javascript');
    });

    it('compares with the libraries that run in a browser', async () => {
      const other = await context.newPage();
      await other.goto(serving.address);
      await other.waitForSelector('#threads option', { state: 'attached' });
      for (const peer of await other.locator('[name=peer]').all()) await peer.check();
      await other.click('#settings > summary');
      await other.click('[data-choose=none]');
      for (const details of await other.locator('#choices details').all())
        await details.evaluate((element) => ((element as unknown as { open: boolean }).open = true));
      for (const id of ['layer-d64-h4-n16', 'decode-h12-dh64-keys2048']) await other.check(`[value="${id}"]`);
      await other.click('#run');
      await expect
        .poll(() => other.textContent('#message'), { timeout: 90_000, interval: 100 })
        .toMatch(/^Done: 2 workloads/);
      await other.click('#copy');
      await expect.poll(() => other.textContent('#message')).toMatch(/clipboard/);
      const file = readResults(
        await other.evaluate<string>('navigator.clipboard.readText()'),
        'the clipboard',
      );
      expect(file.absent).toEqual({});
      expect(Object.keys(file.versions)).toEqual([
        'wasm-attention',
        'onnxruntime-web',
        'jax-js',
        'tfjs-wasm',
        'plain-javascript',
      ]);
      for (const { entries } of file.results)
        for (const { peer, state, error, rootMeanSquareError } of entries) {
          expect({ peer, state }).toEqual({ peer, state: 'measured' });
          expect(error).toBeLessThan(1e-5);
          expect(rootMeanSquareError).toBeGreaterThan(0);
          expect(rootMeanSquareError).toBeLessThanOrEqual(error!);
        }
      expect(await other.textContent('#headline')).toMatch(/^onnxruntime-web takes [\d.]+ times as long/);
      await other.close();
    });

    it('opens with a sentence and what the project measured', async () => {
      const other = await context.newPage();
      await other.goto(serving.address);
      await other.waitForSelector('#elsewhere:not([hidden])');
      expect(await other.textContent('.lead')).toMatch(/^\s*wasm-attention computes/);
      expect(await other.textContent('#elsewhere .headline')).toMatch(/ wasm-attention /);
      await other.close();
    });

    /** Fill colours and outlines of the markers in each plot. */
    const markers = (one: Page) =>
      one.evaluate(() =>
        [...document.querySelectorAll('#plots svg')].map((svg) =>
          [...svg.querySelectorAll('[aria-label=dot] path')].map((path) => [
            path.getAttribute('fill'),
            path.getAttribute('d'),
          ]),
        ),
      );

    it('gives each series a marker of its own shape', async () => {
      const plots = (await markers(page)).filter((marks) => marks.length > 0);
      expect(plots.length).toBe(5);
      for (const marks of plots) {
        const colours = new Set(marks.map(([fill]) => fill));
        expect(new Set(marks.map(([, outline]) => outline)).size).toBe(colours.size);
        expect(new Set(marks.map(String)).size).toBe(colours.size);
      }
      expect(Math.max(...plots.map((marks) => new Set(marks.map(String)).size))).toBeGreaterThan(3);
    });

    it('draws plots again when its width changes', async () => {
      const widths = () =>
        page.evaluate(() => [...document.querySelectorAll('#plots svg')].map((svg) => svg.clientWidth));
      const before = page.viewportSize()!;
      await page.setViewportSize({ width: 500, height: 700 });
      await expect.poll(async () => Math.max(...(await widths()))).toBe(500 - 32);
      await page.setViewportSize({ width: 900, height: 700 });
      await expect.poll(async () => Math.max(...(await widths()))).toBe(900 - 32);
      await page.setViewportSize(before);
    });

    it('copies the same', async () => {
      await page.click('#copy');
      await ended(/clipboard/);
      const text = await page.evaluate<string>('navigator.clipboard.readText()');
      expect(readResults(text, 'the clipboard').results.length).toBe(5);
    });

    it('makes a link that opens with the results', async () => {
      await page.click('#share');
      await ended(/link is in the clipboard/);
      const link = await page.evaluate<string>('navigator.clipboard.readText()');
      const other = await context.newPage();
      await other.goto(link);
      await other.waitForSelector('#results:not([hidden])');
      expect(await other.textContent('#origin')).toMatch(/opened from a link.*Chromium/);
      const names = (one: Page) => one.locator('#table tbody .left').allTextContents();
      expect(await names(other)).toEqual(await names(page));
      await other.close();
    });

    it.each([
      ['cut off', (link: string) => link.slice(0, -40)],
      ['of other characters', (link: string) => link.replace(/results=.{9}/, 'results=%%%%')],
      ['of something else', () => '#results=q1YqSy0qzszPU7IyNNBRSkksSVSyMjQ0MjQ0MDG2rAUA'],
    ])('says so where a link is %s', async (_, damage) => {
      const address = await page.evaluate<string>('location.href');
      const other = await context.newPage();
      await other.goto(`${serving.address}${damage(new URL(address).hash)}`);
      await expect.poll(() => other.textContent('#message')).toMatch(/^These results cannot be opened: ./);
      expect(await other.isHidden('#results')).toBe(true);
      await other.close();
    });

    it('stays alive while it runs, and ends when it is told to', async () => {
      await page.click('[data-choose=all]');
      await page.click('#run');
      await page.waitForFunction(`document.getElementById('step').textContent.includes('round')`);
      expect(await page.isDisabled('#run')).toBe(true);
      await page.click('#cancel');
      await ended(/^Cancelled after \d/);
      expect(await page.isDisabled('#run')).toBe(false);
      expect(await page.isDisabled('#cancel')).toBe(true);
    });

    it('fits a phone', async () => {
      const phone = await browser.newPage({ viewport: { width: 360, height: 700 } });
      await phone.goto(await page.evaluate<string>('location.href'));
      await phone.waitForSelector('#plots svg');
      await phone.click('#settings > summary');
      expect(await phone.evaluate<number>('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360);
      const outside = await phone.evaluate(() =>
        [...document.querySelectorAll('#plots svg text')]
          .filter((text) => {
            const { left, right } = text.getBoundingClientRect();
            return left < 0 || right > 360;
          })
          .map(({ textContent }) => textContent),
      );
      expect(outside).toEqual([]);
      await phone.close();
    });

    it('a report in HTML opens with its result, and fits a phone', async () => {
      const { toHtml } = await import('../../bench/report/html.mjs');
      const runs = readRuns(fileURLToPath(new URL('../../bench/results', import.meta.url))).filter(
        ({ name }) => ['bun', 'node-24'].includes(name),
      );
      const phone = await browser.newPage({ viewport: { width: 360, height: 700 } });
      await phone.setContent(toHtml(makeReport(runs)));
      expect(await phone.evaluate<number>('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360);
      expect(await phone.textContent('h1 + *')).toMatch(/ wasm-attention |^wasm-attention /);
      expect(await phone.locator('.narrow svg').first().isVisible()).toBe(true);
      expect(await phone.locator('.wide svg').first().isVisible()).toBe(false);
      expect(await phone.locator('h1 ~ figure').count()).toBeGreaterThan(0);
      await phone.setViewportSize({ width: 1280, height: 700 });
      expect(await phone.locator('.wide svg').first().isVisible()).toBe(true);
      await phone.close();
    });

    it('says why there are no threads where the page is not isolated', async () => {
      const plain = await servePage(folder, { isolated: false });
      const other = await browser.newPage();
      await other.goto(plain.address);
      await other.click('#settings > summary');
      await other.waitForSelector('#no-threads:not([hidden])');
      expect(await other.textContent('#no-threads')).toMatch(/not cross-origin isolated/);
      expect(await other.locator('#threads option').count()).toBe(1);
      await other.close();
      plain.close();
    });
  });

  needs('Firefox').it('runs in Firefox by itself and reports', async () => {
    let received: (text: string) => void;
    const text = new Promise<string>((resolve) => (received = resolve));
    const reporting = await servePage(folder, { onResult: (result) => received(result) });
    const address = `${reporting.address}?run=layer-d64&effort=quick&report=${encodeURIComponent('/result')}`;
    const file = readResults((await visit('Firefox', address, text)) as string, 'the report');
    expect(file.engine.name).toBe('Firefox');
    expect(file.results[0]!.entries[0]).toMatchObject({ state: 'measured', variant: 'simd' });
    reporting.close();
  });
});
