// A web server for pages of the matrix: files of the throw-away projects with the headers a case wants, and an address to
// which pages send their outcomes.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';

const TYPES = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.css': 'text/css',
  '.wasm': 'application/wasm',
};

export async function serve() {
  const folders = new Map();
  const waiting = new Map();
  let count = 0;

  const server = createServer(async (request, response) => {
    const [, id, ...rest] = decodeURIComponent(new URL(request.url, 'http://host').pathname).split('/');
    if (request.method !== 'GET') {
      let body = '';
      for await (const chunk of request) body += chunk;
      response.writeHead(204, { 'Access-Control-Allow-Origin': '*' }).end();
      if (request.method === 'POST') waiting.get(id)?.(JSON.parse(body));
      return;
    }
    const { folder, headers } = folders.get(id) ?? {};
    try {
      const path = normalize(join(folder, ...rest));
      const body = await readFile(path);
      response.writeHead(200, { 'Content-Type': TYPES[extname(path)] ?? 'text/plain', ...headers }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${server.address().port}`;

  return {
    /** An address for one outcome, and the promise of it. */
    expectOutcome(seconds) {
      const id = `outcome-${++count}`;
      let timer;
      const outcome = new Promise((resolve, reject) => {
        waiting.set(id, resolve);
        timer = setTimeout(() => reject(new Error(`the page said nothing for ${seconds} s`)), seconds * 1000);
        timer.unref(); // nobody may wait for it
      }).finally(() => clearTimeout(timer));
      outcome.catch(() => {}); // whoever waits for it hears of it
      return { address: `${origin}/${id}`, outcome };
    },
    /** Serves a folder and returns its address. */
    add(folder, headers = {}) {
      const id = `folder-${++count}`;
      folders.set(id, { folder, headers });
      return `${origin}/${id}/`;
    },
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
