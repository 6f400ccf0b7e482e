// What runs in a worker: the whole package, answering messages. Loaded as a Web Worker (classic or module) or by
// node:worker_threads.

import { Host } from './host.js';

interface Endpoint {
  postMessage(message: unknown, transfer: readonly ArrayBuffer[]): void;
}

const port = globalThis.process?.getBuiltinModule?.('node:worker_threads')?.parentPort;
const endpoint: Endpoint = port ?? (globalThis as unknown as Endpoint);
const host = new Host((answer, transfer) => endpoint.postMessage(answer, transfer));

if (port) port.on('message', (message) => host.receive(message));
else globalThis.addEventListener('message', (event) => host.receive(event.data));
