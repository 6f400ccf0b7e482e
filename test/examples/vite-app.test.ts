// examples/vite-app, built by Vite and used in Chromium: what it shows are the weights of a plain softmax in float64.

import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { launchChromium } from '../support/browser.mjs';
import { installExample, removeExamples } from '../support/example.mjs';
import { needs } from '../support/needs.js';

interface Tokens {
  HEADS: { name: string }[];
  HEAD_DIM: number;
  split: (text: string, unit: 'words' | 'lines') => string[];
  embed: (tokens: string[]) => { data: Float32Array; shape: number[] };
}

const vite = fileURLToPath(new URL('../../node_modules/vite/bin/vite.js', import.meta.url));
const types: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };
const folder = installExample('vite-app');
const { HEADS, HEAD_DIM, embed, split } = (await import(
  pathToFileURL(join(folder, 'tokens.js')).href
)) as Tokens;
afterAll(removeExamples);

/** Softmax of scale * q . k, [heads][queries][keys]. */
function expectedWeights(tokens: string[], scale: number, causal: boolean): number[][][] {
  const { data } = embed(tokens);
  const vector = (head: number, token: number) => {
    const from = (head * tokens.length + token) * HEAD_DIM;
    return data.subarray(from, from + HEAD_DIM);
  };
  return HEADS.map((_, head) =>
    tokens.map((_, query) => {
      const terms = tokens.map((_, key) => {
        if (causal && key > query) return 0;
        const k = vector(head, key);
        return Math.exp(scale * vector(head, query).reduce((sum, q, c) => sum + q * k[c]!, 0));
      });
      const sum = terms.reduce((total, term) => total + term, 0);
      return terms.map((term) => term / sum);
    }),
  );
}

it('makes alike what is alike', () => {
  const tokens = split('Singing, ringing SINGING!', 'words');
  expect(tokens).toEqual(['Singing', ',', 'ringing', 'SINGING', '!']);
  const [words, letters, endings, neighbours] = expectedWeights(tokens, 8, false) as [
    number[][],
    number[][],
    number[][],
    number[][],
  ];
  expect(words[0]![3]).toBeCloseTo(words[0]![0]!, 6);
  expect(words[0]![2]).toBeLessThan(0.01);
  expect(letters[0]![2]).toBeGreaterThan(10 * letters[0]![1]!);
  expect(endings[0]![2]).toBeCloseTo(endings[0]![0]!, 6);
  expect(neighbours[2]![3]).toBeGreaterThan(neighbours[2]![4]!);
  expect(split('one two\n\n three\n', 'lines')).toEqual(['one two', 'three']);
});

needs('Chromium').describe('built, in Chromium', () => {
  let browser: Awaited<ReturnType<typeof launchChromium>>;
  let page: Page;
  const errors: string[] = [];
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://localhost').pathname;
    const file = join(folder, 'dist', path === '/' ? 'index.html' : path);
    readFile(file).then(
      (body) => response.writeHead(200, { 'Content-Type': types[extname(file)] ?? 'text/plain' }).end(body),
      () => response.writeHead(404).end(),
    );
  });

  beforeAll(async () => {
    const built = spawnSync(process.execPath, [vite, 'build'], { cwd: folder, encoding: 'utf8' });
    expect(built.status, built.stderr).toBe(0);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    browser = await launchChromium();
    page = await browser.newPage();
    page.on('pageerror', ({ message }) => errors.push(message));
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    await page.waitForSelector('#tokens button');
  });
  afterAll(async () => {
    await browser.close();
    server.close();
    expect(errors).toEqual([]);
  });

  /** What a page shows of a query: the weights in the line below the tokens, and the opacities of its row. */
  async function shown(query: number) {
    await page.click(`#tokens button:nth-child(${query + 1})`);
    const readout = (await page.textContent('#readout'))!;
    const opacities = await page.evaluate(
      (row) =>
        [...document.querySelectorAll('canvas')].map((canvas) =>
          [...canvas.getContext('2d')!.getImageData(0, row, canvas.width, 1).data].filter(
            (_, i) => i % 4 === 3,
          ),
        ),
      query,
    );
    const weights = [...readout.matchAll(/ (\d\.\d{3})/g)].map(([, number]) => Number(number));
    return { readout, opacities, weights };
  }

  const text = 'the cat and the other cats';
  const tokens = split(text, 'words');

  it.each([false, true])('shows the weights of what is typed; look back only: %s', async (causal) => {
    await page.fill('#text', text);
    await page.setChecked('#causal', causal);
    expect(await page.locator('#tokens button').allTextContents()).toEqual(tokens);
    const expected = expectedWeights(tokens, 8, causal);
    const { readout, opacities, weights } = await shown(3);
    expect(readout).toMatch(/^the \(4\) → /);
    const key = Number(/→ \S+ \((\d+)\)/.exec(readout)![1]) - 1;
    weights.forEach((weight, head) => expect(weight).toBeCloseTo(expected[head]![3]![key]!, 3));
    expect(weights.length).toBe(HEADS.length);
    opacities.forEach((row, head) =>
      row.forEach((opacity, i) => {
        expect(Math.abs(opacity - 255 * Math.sqrt(expected[head]![3]![i]!))).toBeLessThan(1.5);
      }),
    );
  });

  it('follows the controls', async () => {
    await page.fill('#text', 'one line\nanother line');
    await page.check('[value=lines]');
    expect(await page.locator('#tokens button').allTextContents()).toEqual(['one line', 'another line']);
    await page.uncheck('#causal');
    await page.fill('#sharpness', '0');
    expect((await shown(0)).weights).toEqual([0.5, 0.5, 0.5, 0.5]);
    expect(await page.textContent('#status')).toMatch(/^2 tokens, 4 heads: \d+\.\d ms/);
  });

  it('bears an empty text, and cuts a long one', async () => {
    await page.check('[value=words]');
    await page.fill('#text', '');
    expect(await page.textContent('#status')).toMatch(/^0 tokens/);
    await page.fill('#text', 'word '.repeat(1000));
    expect(await page.locator('#tokens button').count()).toBe(400);
    expect(await page.textContent('#status')).toMatch(/^the first 400 of 1000 tokens/);
  });
});
