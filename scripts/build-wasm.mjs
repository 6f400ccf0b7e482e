// Compiles assembly/ into build/<target>.wasm, one file for every target of asconfig.json, in this one process.

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Builds every target and returns the paths it wrote, relative to the repository root. */
export async function buildWasm() {
  const { entries, targets } = JSON.parse(await readFile(join(root, 'asconfig.json'), 'utf8'));
  const written = [];
  for (const target of Object.keys(targets)) {
    const start = performance.now();
    const files = [];
    const { error } = await asc.main(
      [...entries, '--config', 'asconfig.json', '--target', target, '--baseDir', root],
      {
        stdout: process.stdout,
        stderr: process.stderr,
        writeFile: (name, contents) => void files.push([name, contents]),
      },
    );
    if (error) throw new Error(`The ${target} build failed: ${error.message}`);
    for (const [name, contents] of files) {
      await mkdir(dirname(join(root, name)), { recursive: true });
      await writeFile(join(root, name), contents);
      written.push(name);
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      console.log(`  ${name.padEnd(28)} ${kilobytes(contents.length)}  ${seconds} s`);
    }
  }
  return written;
}

/** A file size for a progress line. */
export function kilobytes(bytes) {
  return `${(bytes / 1000).toFixed(1).padStart(7)} kB`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildWasm();
