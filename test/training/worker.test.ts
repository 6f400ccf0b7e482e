// Training inside a worker: a program of its own there, which takes its steps in slices and posts every loss. The weights have the bits
// on record, as everywhere. In Node, and in a page of Chromium.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker as NodeWorker } from 'node:worker_threads';
import { build } from 'esbuild';
import { afterAll, describe, expect, it } from 'vitest';
import { ISOLATED, launchBrowser } from '../support/browser.mjs';
import { needs } from '../support/needs.js';

const file = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const recorded = JSON.parse(readFileSync(file('test/bits.json'), 'utf8')) as Record<string, string>;

/** What a worker posts. */
type Message = { readonly loss: number } | { readonly name: string; readonly hash: string };

/**
 * The program of the worker.
 *
 * @param dist where the package lies
 * @param port what posts messages
 */
async function program(dist: string, port: string, threads: number): Promise<string> {
  const contents = `
    import * as main from '${dist}/index.mjs';
    import * as model from '${dist}/model.mjs';
    import * as training from '${dist}/training.mjs';
    import { hash } from './bits-suite.ts';
    import { train, TRAINED } from './bits-training.ts';
    const port = ${port};
    const post = (message) => port.postMessage(message);
    for (const [name, example] of Object.entries(TRAINED)) {
      const way = { asynchronous: true, threads: ${threads}, onLoss: (loss) => post({ loss }) };
      post({ name, hash: hash(await train({ ...main, ...model, ...training }, example, way)) });
    }`;
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: file('test') },
    ...{ bundle: true, format: 'esm', target: 'es2022', write: false },
    external: [`${dist}/*`, 'node:*'],
  });
  return outputFiles[0]!.text;
}

/** Losses fell, and the weights are those on record. */
function check(messages: readonly Message[]): void {
  const hashes = messages.flatMap((message) => ('hash' in message ? [message] : []));
  expect(hashes).toEqual(
    ['decoder', 'encoder'].map((name) => ({ name, hash: recorded[`training, ${name}`] })),
  );
  const losses = messages.flatMap((message) => ('loss' in message ? [message.loss] : []));
  expect(losses).toHaveLength(100);
  expect(losses.every((loss) => loss > 0 && loss < 10)).toBe(true);
}

describe('in Node', () => {
  // Inside the project, so that the package finds its files.
  const folder = file(`build/training-worker-${process.pid}/`);
  mkdirSync(folder, { recursive: true });
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each([1, 2])('threads: %i', async (threads) => {
    const path = `${folder}worker-${threads}.mjs`;
    const port = `(await import('node:worker_threads')).parentPort`;
    writeFileSync(path, await program(file('dist'), port, threads));
    const worker = new NodeWorker(path);
    const messages: Message[] = [];
    const code = await new Promise((resolve, reject) => {
      worker.on('message', (message: Message) => messages.push(message));
      worker.on('error', reject);
      worker.on('exit', resolve);
    });
    expect(code).toBe(0);
    check(messages);
  });
});

needs('Chromium').describe('in Chromium', () => {
  it.each<[string, Record<string, string>, number]>([
    ['an isolated page, with two threads', ISOLATED, 2],
    ['a plain page', {}, 1],
  ])('%s', async (_, headers, threads) => {
    const browser = await launchBrowser();
    const page = await browser.open(headers);
    const origin = new URL(page.url()).origin;
    const code = await program(`${origin}/dist`, 'globalThis', threads);
    const messages = await page.evaluate(
      (text) =>
        new Promise<Message[]>((resolve, reject) => {
          const worker = new Worker(URL.createObjectURL(new Blob([text], { type: 'text/javascript' })), {
            type: 'module',
          });
          const seen: Message[] = [];
          worker.onerror = ({ message }) => reject(new Error(message));
          worker.onmessage = ({ data }: MessageEvent<Message>) => {
            seen.push(data);
            if ('hash' in data && data.name === 'encoder') resolve(seen);
          };
        }),
      code,
    );
    await page.close();
    await browser.close();
    check(messages);
  });
});
