// `npm run pictures`: takes the pictures of examples/vite-app for the README and of examples/learning for the card of what it trains,
// light and dark. Needs Chromium, and half a minute for the training.

import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { launchChromium } from '../test/support/browser.mjs';
import { copyLearned, installExample, removeExamples } from '../test/support/example.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };

/** The words in two lines; a README shows it a little smaller. */
const WIDTH = 1040;
const MARGIN = 16;

/** Serves a folder until the program ends. */
async function serve(folder) {
  const server = createServer(async ({ url }, response) => {
    const path = url === '/' ? '/index.html' : url;
    try {
      const body = await readFile(join(folder, path));
      response.writeHead(200, { 'Content-Type': types[extname(path)] ?? 'text/plain' }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  server.unref();
  return `http://127.0.0.1:${server.address().port}/`;
}

/** The words, their weights and the heads; not the controls. */
async function takeWords(page, path) {
  await page.waitForSelector('#tokens button');
  await page.click('#tokens button:nth-child(3)');
  await page.mouse.move(0, 0);
  await takeFrom(page, page.locator('#tokens'), page.locator('.legend'), path);
}

/** The curves, the sequence and the heads, when all is learned. */
async function takeLearning(page, path) {
  await page.click('#start:enabled');
  await page.waitForSelector('body[data-state=done]', { timeout: 300_000 });
  await takeFrom(page, page.locator('.charts'), page.locator('#heads'), path);
}

/** From the top of one element to the bottom of another. */
async function takeFrom(page, from, to, path) {
  const first = await from.boundingBox();
  const last = await to.boundingBox();
  const y = first.y - MARGIN;
  const clip = { x: 0, y, width: WIDTH, height: last.y + last.height + MARGIN - y };
  await page.screenshot({ path, clip, fullPage: true });
  console.log(path);
}

/**
 * Builds an example, and takes its picture in both colour schemes.
 *
 * @param {string} name @param {string} files  path without '-light.png' @param {number} scale  pixels of the picture for one of the page
 */
async function takePictures(browser, name, files, scale, take) {
  const example = installExample(name);
  const vite = join(root, 'node_modules/vite/bin/vite.js');
  const { status, stderr } = spawnSync(process.execPath, [vite, 'build'], { cwd: example, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  const address = await serve(join(example, 'dist'));
  for (const colorScheme of ['light', 'dark']) {
    const page = await browser.newPage({
      viewport: { width: WIDTH, height: 900 },
      deviceScaleFactor: scale,
      colorScheme,
    });
    await page.goto(address);
    await take(page, join(root, `${files}-${colorScheme}.png`));
    await page.close();
  }
}

const browser = await launchChromium();
try {
  copyLearned();
  await takePictures(browser, 'vite-app', 'docs/images/attention', 1.5, takeWords);
  await takePictures(browser, 'learning', 'docs/images/induction', 1, takeLearning);
} finally {
  await browser.close();
  removeExamples();
}
