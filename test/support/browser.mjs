// Pages of a real browser for tests and benchmarks: Chromium, over a small server of this folder's dist/.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname } from 'node:path';
import { chromium as executablePath } from '../matrix/browsers.mjs';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Every page has the built entries as a global, `entries`. */
const PAGE = '<!doctype html><script type="module" src="/entries.mjs"></script>';
const ENTRIES = `import * as main from '/dist/index.mjs';
import * as workerRuntime from '/dist/worker-runtime.mjs';
globalThis.entries = { main, workerRuntime };`;

const TYPES = {
  '.mjs': 'text/javascript',
  '.js': 'text/javascript',
  '.wasm': 'application/wasm',
  '.html': 'text/html',
};
const root = new URL('../../', import.meta.url);

/** The browser alone. */
export async function launchChromium() {
  const { chromium } = await import('playwright-core');
  return chromium.launch({ executablePath, args: FLAGS });
}

/**
 * Starts a server of the project and a browser.
 *
 * `open` gives a page with the given response headers; built files are under /dist/.
 */
export async function launchBrowser() {
  const server = createServer((request, response) => void answer(request, response));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  const browser = await launchChromium();
  return {
    /** @param {Record<string, string>} headers */
    async open(headers = {}) {
      const page = await browser.newPage();
      await page.goto(`http://127.0.0.1:${port}/page.html?${new URLSearchParams(headers).toString()}`);
      return page;
    },
    async close() {
      await browser.close();
      server.close();
    },
  };
}

/** Headers of a page that may share memory between threads. */
export const ISOLATED = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

/**
 * The page takes its headers from its own address; files lie in dist/. Workers of an isolated page must be isolated too.
 *
 * @param {import('node:http').IncomingMessage} request
 * @param {import('node:http').ServerResponse} response
 */
async function answer(request, response) {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
  const own = pathname === '/page.html' ? Object.fromEntries(searchParams) : ISOLATED;
  try {
    const body = { '/page.html': PAGE, '/entries.mjs': ENTRIES }[pathname] ?? (await read(pathname));
    const type = TYPES[/** @type {keyof typeof TYPES} */ (extname(pathname))] ?? 'text/plain';
    response.writeHead(200, { 'Content-Type': type, ...own }).end(body);
  } catch {
    response.writeHead(404).end();
  }
}

/** @param {string} pathname */
function read(pathname) {
  if (!pathname.startsWith('/dist/') || pathname.includes('..')) throw new Error('not served');
  return readFile(new URL(`.${pathname}`, root));
}
