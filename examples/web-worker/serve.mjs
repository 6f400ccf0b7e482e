// A web server for this folder, with the headers of a cross-origin isolated page.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname } from 'node:path';

const types = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.css': 'text/css',
};
const isolation = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};
const headers = process.env.ISOLATED === '0' ? {} : isolation;

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost'); // has no `..` left
  const file = new URL(pathname === '/' ? './index.html' : `.${pathname}`, import.meta.url);
  try {
    const body = await readFile(file);
    response.writeHead(200, { 'Content-Type': types[extname(file.pathname)] ?? 'text/plain', ...headers });
    response.end(body);
  } catch {
    response.writeHead(404).end();
  }
});

server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}/`);
});
