// Compiles assembly/ into build/<target>.wasm, one file for every target of asconfig.json, in this one process.
// Run from the repository root.

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

/** Builds every target and returns the paths it wrote. */
export async function buildWasm() {
  const { entries, targets } = JSON.parse(await readFile('asconfig.json', 'utf8'));
  const written = [];
  for (const target of Object.keys(targets)) {
    const start = performance.now();
    const { error } = await asc.main([...entries, '--config', 'asconfig.json', '--target', target], {
      stdout: process.stdout,
      stderr: { write: (text) => text.startsWith('Last converge') || process.stderr.write(text) }, // a remark, not a fault
      writeFile: async (name, contents) => {
        await mkdir(dirname(name), { recursive: true });
        await writeFile(name, contents);
        console.log(progressLine(name, contents.length, start));
        written.push(name);
      },
    });
    if (error) throw new Error(`The ${target} build failed: ${error.message}`);
  }
  return written;
}

/** One line for one finished file. */
export function progressLine(name, bytes, start) {
  const size = `${(bytes / 1000).toFixed(1)} kB`;
  const time = `${((performance.now() - start) / 1000).toFixed(1)} s`;
  return `  ${name.padEnd(20)} ${size.padStart(10)} ${time.padStart(8)}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildWasm();
