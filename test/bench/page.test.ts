// The benchmark page in real browsers: run, cancel, download, share, damaged links, without isolation.

import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildPage } from '../../bench/page/build.mjs';
import { servePage } from '../../bench/page/server.mjs';
import { resultFileReader } from '../../bench/suite/validate.mjs';
import { visit, whyNot } from '../matrix/browsers.mjs';
import { CHROMIUM, hasChromium } from '../support/browser.mjs';

const installed = existsSync(new URL('../../bench/node_modules/@observablehq/plot', import.meta.url));
const schema = JSON.parse(
  readFileSync(new URL('../../bench/suite/result.schema.json', import.meta.url), 'utf8'),
) as object;
const readResults = resultFileReader(schema);

const folder = mkdtempSync(join(tmpdir(), 'wasm-attention-page-'));
let serving: Awaited<ReturnType<typeof servePage>>;

describe.skipIf(!installed)('the benchmark page (needs bench/ installed)', () => {
  beforeAll(async () => {
    await buildPage(folder);
    serving = await servePage(folder);
  });
  afterAll(() => {
    serving.close();
    rmSync(folder, { recursive: true });
  });

  describe.skipIf(!hasChromium)('in Chromium', () => {
    let browser: Browser;
    let context: BrowserContext;
    let page: Page;

    beforeAll(async () => {
      const { chromium } = await import('playwright-core');
      browser = await chromium.launch({
        executablePath: CHROMIUM,
        args: ['--no-sandbox', '--disable-gpu', '--disable-quic'],
      });
      context = await browser.newContext({ permissions: ['clipboard-read', 'clipboard-write'] });
      page = await context.newPage();
      await page.goto(serving.address);
      await page.waitForSelector('#threads option', { state: 'attached' });
    });
    afterAll(() => browser?.close());

    /** Ticks exactly these workloads. */
    async function choose(...ids: string[]) {
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
      await page.focus('#run');
      await page.keyboard.press('Enter');
      await ended(/^Done: 5 workloads/);
      const table = await page.textContent('#table');
      expect(table).toContain('product-8x768x768');
      expect(table).toContain('simd 2 threads');
      const titles = await page.locator('#plots figcaption').allTextContents();
      expect(titles).toEqual([
        'Share of the limit by workload, quartiles over the rounds',
        'The relaxed build against the simd build',
        'Several threads against one',
        'Time against length',
      ]);
      expect(await page.locator('#plots svg circle').count()).toBeGreaterThan(10);
    }, 90_000);

    it('downloads a result file that keeps to the schema', async () => {
      const [download] = await Promise.all([page.waitForEvent('download'), page.click('#download')]);
      expect(download.suggestedFilename()).toMatch(/^wasm-attention-Chromium-\d{4}-\d\d-\d\d\.json$/);
      const file = readResults(readFileSync(await download.path(), 'utf8'), 'the download');
      expect(file.engine.name).toBe('Chromium');
      expect(file.results.map(({ workload }) => workload.id)).toContain('layer-d64-h4-n16');
      for (const { entries } of file.results)
        for (const entry of entries)
          expect(entry).toMatchObject({ state: 'measured', peer: 'wasm-attention' });
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
      const names = (one: Page) => one.locator('#table td.left').allTextContents();
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
    }, 90_000);

    it('fits a phone', async () => {
      const phone = await browser.newPage({ viewport: { width: 360, height: 700 } });
      await phone.goto(await page.evaluate<string>('location.href'));
      await phone.waitForSelector('#plots svg');
      expect(await phone.evaluate<number>('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360);
      await phone.close();
    });

    it('says why there are no threads where the page is not isolated', async () => {
      const plain = await servePage(folder, { isolated: false });
      const other = await browser.newPage();
      await other.goto(plain.address);
      await other.waitForSelector('#no-threads:not([hidden])');
      expect(await other.textContent('#no-threads')).toMatch(/not cross-origin isolated/);
      expect(await other.locator('#threads option').count()).toBe(1);
      await other.close();
      plain.close();
    });
  });

  it.skipIf(whyNot('Firefox'))(
    'runs in Firefox by itself and reports',
    async () => {
      let received: (text: string) => void;
      const text = new Promise<string>((resolve) => (received = resolve));
      const reporting = await servePage(folder, { onResult: (result) => received(result) });
      const address = `${reporting.address}?run=layer-d64&effort=quick&report=${encodeURIComponent('/result')}`;
      const file = readResults((await visit('Firefox', address, text)) as string, 'the report');
      expect(file.engine.name).toBe('Firefox');
      expect(file.results[0]!.entries[0]).toMatchObject({ state: 'measured', variant: 'simd' });
      reporting.close();
    },
    120_000,
  );
});
