// What the numbers depend on, as far as a process can know it.

import { readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';

/** @returns {import('./suite/result.mjs').Facts['machine']} */
export function describeMachine() {
  const processors = cpus();
  return {
    processor: processors[0]?.model.trim() ?? null,
    cores: processors.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform} ${process.arch}`,
  };
}

/** @returns {import('./suite/result.mjs').Facts['engine']} */
export function describeEngine() {
  const { bun, deno, node, v8, webkit } = process.versions;
  if (bun) return { name: 'Bun', version: bun, ...(webkit ? { webkit } : {}) };
  return deno ? { name: 'Deno', version: deno, v8 } : { name: 'Node', version: node, v8 };
}

/** @returns {string} */
export const libraryVersion = () =>
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version;
