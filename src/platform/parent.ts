// In a worker: whoever started it.

import { nodeModule } from './node.js';

interface Parent {
  postMessage(message: unknown, transfer?: readonly ArrayBuffer[]): void;
}

/** Takes messages from now on; returns where to send others. */
export function serve<Message>(receive: (message: Message) => void): Parent {
  const port = nodeModule('node:worker_threads')?.parentPort;
  if (port) port.on('message', receive);
  else globalThis.onmessage = ({ data }) => receive(data as Message);
  return port ?? (globalThis as unknown as Parent);
}
