// `npm run pictures`: takes the README's pictures of examples/vite-app, light and dark, into docs/images/. Needs Chromium.

import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { launchChromium } from '../test/support/browser.mjs';
import { installExample, removeExamples } from '../test/support/example.mjs';

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
async function takePicture(browser, address, colorScheme, path) {
  const page = await browser.newPage({
    viewport: { width: WIDTH, height: 900 },
    deviceScaleFactor: 1.5,
    colorScheme,
  });
  await page.goto(address);
  await page.waitForSelector('#tokens button');
  await page.click('#tokens button:nth-child(3)');
  await page.mouse.move(0, 0);
  const first = await page.locator('#tokens').boundingBox();
  const last = await page.locator('.legend').boundingBox();
  const y = first.y - MARGIN;
  await page.screenshot({
    path,
    clip: { x: 0, y, width: WIDTH, height: last.y + last.height + MARGIN - y },
  });
  await page.close();
  console.log(path);
}

const example = installExample('vite-app');
const browser = await launchChromium();
try {
  const vite = join(root, 'node_modules/vite/bin/vite.js');
  const { status, stderr } = spawnSync(process.execPath, [vite, 'build'], { cwd: example, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  const address = await serve(join(example, 'dist'));
  const folder = join(root, 'docs/images');
  mkdirSync(folder, { recursive: true });
  for (const scheme of ['light', 'dark'])
    await takePicture(browser, address, scheme, join(folder, `attention-${scheme}.png`));
} finally {
  await browser.close();
  removeExamples();
}
