// examples/learning, built by Vite: the page trains in Chromium and in Firefox and ends with the weights on record, those of Node.
// How long it took, and how the page fared meanwhile, is told, never a condition.

import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { task } from '../../learned/induction/task.mjs';
import { visit } from '../matrix/browsers.mjs';
import { launchChromium } from '../support/browser.mjs';
import { copyLearned, installExample, removeExamples } from '../support/example.mjs';
import { needs } from '../support/needs.js';

const vite = fileURLToPath(new URL('../../node_modules/vite/bin/vite.js', import.meta.url));
const types: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };

/** Presses the button and waits for the end, in the page: this is how any browser is driven that can open an address. */
const DRIVER = `<script type="module">
const element = (id) => document.getElementById(id);
const until = (isSo) => new Promise((resolve) => {
  const timer = setInterval(() => isSo() && (clearInterval(timer), resolve()), 50);
});
await until(() => !element('start').disabled);
const start = performance.now();
element('start').click();
await until(() => ['done', 'failed'].includes(document.body.dataset.state));
const seconds = (performance.now() - start) / 1000;
for (const _ of [1, 2]) await new Promise((resolve) => requestAnimationFrame(resolve)); // it is drawn with the next frame
await fetch('/outcome', { method: 'POST', body: JSON.stringify({
  seconds, status: element('status').textContent, alive: element('alive').textContent, hash: element('measures').dataset.hash,
  outcome: element('outcome').textContent,
}) });
</script>`;

interface Outcome {
  readonly seconds: number;
  readonly status: string;
  readonly alive: string;
  readonly hash: string;
  readonly outcome: string;
}

let folder: string;
let address: string;
let hear: (outcome: Outcome) => void;

const server = createServer((request, response) => {
  const path = new URL(request.url ?? '/', 'http://localhost').pathname;
  if (request.method === 'POST') {
    let body = '';
    request.on('data', (chunk) => (body += String(chunk)));
    request.on('end', () => hear(JSON.parse(body) as Outcome));
    response.writeHead(204).end();
    return;
  }
  const file = join(folder, 'dist', path === '/' || path === '/driven' ? 'index.html' : path);
  readFile(file).then(
    (body) => {
      response.writeHead(200, { 'Content-Type': types[extname(file)] ?? 'text/plain' });
      response.end(path === '/driven' ? `${body.toString()}${DRIVER}` : body);
    },
    () => response.writeHead(404).end(),
  );
});

beforeAll(async () => {
  folder = installExample('learning');
  installExample('vite-app');
  copyLearned();
  const built = spawnSync(process.execPath, [vite, 'build'], { cwd: folder, encoding: 'utf8' });
  expect(built.status, built.stderr).toBe(0);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  removeExamples();
});

for (const browser of ['Chromium', 'Firefox'])
  needs(browser).it(`learns in ${browser}, with the weights of Node`, async () => {
    const outcome = new Promise<Outcome>((resolve) => (hear = resolve));
    const heard = (await visit(browser, `${address}driven`, outcome, 280)) as Outcome;
    const { hash, seconds, alive, status, outcome: words } = heard;
    console.log(`${browser}: ${task.steps} steps in ${seconds.toFixed(1)} s; ${alive}`);
    expect(status).toBe(`step ${task.steps} of ${task.steps}`);
    expect(hash).toBe(task.hashes[task.steps]);
    expect(words).toContain('The same bits as in Node.');
    expect(alive).toMatch(/^\d+ frames since the start, the longest wait for one \d+ ms/);
    if (browser === 'Chromium') expect(alive).toMatch(/on the page's own thread (no|the longest) task/);
  });

needs('Chromium').describe('in Chromium', () => {
  let browser: Awaited<ReturnType<typeof launchChromium>>;
  let page: Page;
  const errors: string[] = [];
  beforeAll(async () => {
    browser = await launchChromium();
    page = await browser.newPage();
    page.on('pageerror', ({ message }) => errors.push(message));
    await page.goto(address);
    await page.waitForSelector('#start:enabled');
  });
  afterAll(async () => {
    await browser.close();
    expect(errors).toEqual([]);
  });

  const status = () => page.textContent('#status');
  const step = async () => Number(/^step (\d+) of/.exec((await status())!)?.[1] ?? 0);
  /** Opacities of all heads, one list a head. */
  const heads = () =>
    page.evaluate(() =>
      [...document.querySelectorAll<HTMLCanvasElement>('#heads canvas')].map((canvas) =>
        [...canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height).data].filter(
          (_, i) => i % 4 === 3,
        ),
      ),
    );

  it('shows the heads before anything is learned: rows of causal weights', async () => {
    expect(await status()).toMatch(/^[\d,]+ random weights$/);
    const pictures = await heads();
    expect(pictures.length).toBe(8);
    const length = 32;
    for (const opacities of pictures) {
      expect(opacities.length).toBe(length ** 2);
      for (let query = 0; query < length; query++) {
        const row = opacities.slice(query * length, (query + 1) * length).map((value) => (value / 255) ** 2);
        expect(Math.abs(row.reduce((sum, weight) => sum + weight, 0) - 1)).toBeLessThan(0.1);
        expect(row.slice(query + 1).every((weight) => weight === 0)).toBe(true);
      }
    }
  });

  it('learns, pauses, and goes on from there', async () => {
    const before = await heads();
    await page.click('#start');
    await expect.poll(step).toBeGreaterThan(3);
    await page.click('#stop');
    await page.waitForSelector('#start:enabled');
    const paused = await step();
    expect(await page.textContent('#start')).toBe('Go on');
    expect(await heads()).not.toEqual(before);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await step()).toBe(paused);
    await page.click('#start');
    await expect.poll(step).toBeGreaterThan(paused + 3);
    expect(await status()).toMatch(/^step \d+ of \d+, [\d,]+ tokens\/s$/);
    expect(await page.textContent('#loss')).toMatch(/^\d\.\d{3}$/);
  });

  it('shows the weights of the letter and of the head that are pointed at', async () => {
    await page.click('#tokens button:nth-child(5)');
    await expect
      .poll(() => page.textContent('#readout'))
      .toMatch(/^layer 2, head \d: . \(5\) looks at . \(\d+\) with \d+ %/);
    await page
      .locator('#heads canvas')
      .first()
      .hover({ position: { x: 3, y: 3 } });
    await expect
      .poll(() => page.textContent('#readout'))
      .toMatch(/^layer 1, head 1: . \(1\) looks at . \(1\) with 100 %/);
  });

  it('begins anew', async () => {
    await page.click('#reset');
    await page.waitForSelector('#start:enabled');
    await expect.poll(status).toMatch(/random weights$/);
  });

  it('fits a phone', async () => {
    await page.setViewportSize({ width: 360, height: 700 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
  });
});

it('has a record to compare with', () => {
  expect(task.hashes[task.steps]).toMatch(/^[\da-f]{64}$/);
});
