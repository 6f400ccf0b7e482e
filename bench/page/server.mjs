// A small server of the built page. `isolated` sends the headers without which browsers give pages no threads.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
};

const ISOLATED = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

/**
 * @param {string} folder
 * @param {{ port?: number, isolated?: boolean, onResult?: (text: string) => void }} [options] `onResult`: what a page that
 *   was told to report has sent
 */
export async function servePage(folder, { port = 0, isolated = true, onResult } = {}) {
  const headers = isolated ? ISOLATED : {};
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    if (request.method === 'POST' && pathname === '/result') {
      let text = '';
      for await (const chunk of request) text += chunk;
      response.writeHead(204, headers).end();
      onResult?.(text);
      return;
    }
    const path = normalize(pathname === '/' ? '/index.html' : pathname);
    try {
      const body = await readFile(join(folder, path));
      const type = TYPES[/** @type {keyof typeof TYPES} */ (extname(path))] ?? 'text/plain';
      response.writeHead(200, { 'Content-Type': type, ...headers }).end(body);
    } catch {
      response.writeHead(404, headers).end();
    }
  });
  await new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve(undefined)));
  const { port: taken } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    address: `http://127.0.0.1:${taken}/`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
