// A web server for tests that read files at addresses: it can lack ranges, answer wrongly and break off, and says what it was asked.

import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  /** Resolves when the answer is over: true if it was sent to its end. */
  readonly finished: Promise<boolean>;
}

/** How a file is served. */
export interface Served {
  readonly bytes: Uint8Array;
  /** Default true. */
  readonly ranges?: boolean;
  readonly etag?: string;
  /** Headers beside those, or instead of those. */
  readonly headers?: Readonly<Record<string, string>>;
  /** No Content-Length: the end of the connection is the end of the file. */
  readonly unsized?: boolean;
  /** Breaks the connection off at this byte of the file. */
  readonly breaksAt?: number;
  /** Sends nothing from this byte of the file on, and waits. */
  readonly stallsAt?: number;
  /** Answers itself; true if it did. */
  readonly answer?: (request: IncomingMessage, response: ServerResponse) => boolean;
}

export interface FileServer extends AsyncDisposable {
  readonly base: string;
  readonly files: Map<string, Served>;
  readonly asked: Asked[];
  /** Requests for bytes since the last call. */
  takeAsked(): string[];
}

export async function serveFiles(files: Readonly<Record<string, Served>> = {}): Promise<FileServer> {
  const served = new Map(Object.entries(files));
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const { range } = request.headers;
    const finished = new Promise<boolean>((resolve) => {
      response.on('close', () => resolve(response.writableFinished));
    });
    asked.push({ method: request.method ?? '', path: pathname, range, finished });
    const file = served.get(decodeURIComponent(pathname.slice(1)));
    if (file === undefined) response.writeHead(404, { 'Content-Type': 'text/html' }).end('<!DOCTYPE html>');
    else answer(request, response, file);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    base: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    files: served,
    asked,
    takeAsked: () => asked.splice(0).map(({ method, range }) => `${method} ${range ?? 'all'}`),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function answer(request: IncomingMessage, response: ServerResponse, file: Served): void {
  if (file.answer?.(request, response) === true) return;
  const { bytes, ranges = true, etag, unsized = false, breaksAt = Infinity, stallsAt = Infinity } = file;
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
  const partial = ranges && first !== undefined && request.method === 'GET';
  const from = partial ? Number(first) : 0;
  const to = partial ? Math.min(Number(last) + 1, bytes.length) : bytes.length;
  response.writeHead(partial ? 206 : 200, {
    ...(unsized ? { Connection: 'close' } : { 'Content-Length': to - from }),
    ...(partial ? { 'Content-Range': `bytes ${from}-${to - 1}/${bytes.length}` } : {}),
    ...(etag === undefined ? {} : { ETag: etag }),
    ...file.headers,
  });
  if (request.method === 'HEAD') return void response.end();
  const end = Math.min(to, breaksAt, stallsAt);
  response.write(bytes.subarray(from, Math.max(from, end)), () => {
    if (end === to) response.end();
    else if (end === breaksAt) response.destroy();
  });
}
