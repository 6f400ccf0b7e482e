// Compiles assembly/ into build/<target>.wasm, one file for every target of asconfig.json, in this one process. Beside
// them it writes what the bundles take of them: build/identity.ts and build/embedded.ts. Run from the repository root.

import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';
import { pack } from './pack.mjs';

/** Builds every target and returns the paths it wrote. */
export async function buildWasm() {
  const { entries, targets } = JSON.parse(await readFile('asconfig.json', 'utf8'));
  const files = [];
  for (const target of Object.keys(targets)) {
    const start = performance.now();
    await compile(target, [...entries, '--config', 'asconfig.json', '--target', target], (name, contents) => {
      files.push({ target, name, contents, start });
    });
  }
  // The same for every build of the same kernels: by it the JavaScript knows its own.
  const hash = createHash('sha256');
  for (const { contents } of files) hash.update(contents);
  const identity = hash.digest('hex').slice(0, 16);
  for (const file of files) file.contents = signed(file.contents, `${file.target} ${identity}`);

  const builds = files.map(({ target, contents }) => ({ target, contents }));
  for (const { name, contents, start = performance.now() } of [
    ...files,
    { name: 'build/identity.ts', contents: identify(identity, builds) },
    { name: 'build/embedded.ts', contents: await embed(builds) },
  ]) {
    await mkdir(dirname(name), { recursive: true });
    await writeFile(name, contents);
    console.log(progressLine(name, contents.length, start));
  }
  return [...files.map(({ name }) => name), 'build/identity.ts', 'build/embedded.ts'];
}

/** Runs the compiler; what it makes goes to `write`. */
async function compile(what, options, write) {
  const { error } = await asc.main(options, {
    stdout: process.stdout,
    stderr: { write: (text) => text.startsWith('Last converge') || process.stderr.write(text) }, // a remark, not a fault
    writeFile: async (name, contents) => write(name, contents),
  });
  if (error) throw new Error(`The ${what} build failed: ${error.message}`);
}

/** The module with a custom section `wasm-attention` that holds a text. */
function signed(wasm, text) {
  const sized = (content) => Buffer.from([content.length, ...content]); // one byte of LEB128: content below 128 bytes
  const name = sized(Buffer.from('wasm-attention'));
  return Buffer.concat([wasm, Buffer.from([0]), sized(Buffer.concat([name, Buffer.from(text)]))]);
}

/** What the JavaScript has to know of the files: who they are, and where they say whether their memory is shared. */
function identify(identity, builds) {
  const importOfMemory = Buffer.from('\x03env\x06memory\x02');
  const flags = builds.map(({ contents }) => contents.indexOf(importOfMemory) + importOfMemory.length);
  if (flags.some((flag) => flag !== flags[0]))
    throw new Error('The builds import their memory at different places');
  return `export const identity = '${identity}';\nexport const sharedFlag = ${flags[0]};\n`;
}

/**
 * All builds as one module of text: packed one after the other, because they hardly differ, beside what unpacks them. Text
 * compresses for the network to about what base64 adds.
 */
async function embed(builds) {
  const bytes = Buffer.concat(builds.map(({ contents }) => contents));
  const packed = pack(bytes);
  const unpacker = await compileUnpacker();
  if (!unpack(unpacker, packed, bytes.length).equals(bytes))
    throw new Error('What was packed does not unpack');
  let from = 0;
  const places = builds.map(
    ({ target, contents }) => `  ${target}: [${from}, ${(from += contents.length)}],\n`,
  );
  return [
    `export const unpacker = '${Buffer.from(unpacker).toString('base64')}';`,
    `export const packed =\n  '${packed.toString('base64')}';`,
    `export const places = {\n${places.join('')}} as const;\n`,
  ].join('\n');
}

async function compileUnpacker() {
  let unpacker;
  const options =
    '--config none -Oz --noAssert --runtime stub --use abort= --initialMemory 32 --outFile unpack.wasm';
  await compile('unpacker', ['assembly/unpack/index.ts', ...options.split(' ')], (_, contents) => {
    unpacker = contents;
  });
  return unpacker;
}

/** As src/index.ts does it. */
function unpack(unpacker, packed, length) {
  const { memory, start, unpack } = new WebAssembly.Instance(new WebAssembly.Module(unpacker)).exports;
  const target = start() + packed.length;
  if (target + length > memory.buffer.byteLength) throw new Error('The unpacker needs more memory');
  new Uint8Array(memory.buffer).set(packed, start());
  unpack(target, length);
  return Buffer.from(memory.buffer, target, length);
}

/** One line for one finished file. */
export function progressLine(name, bytes, start) {
  const size = `${(bytes / 1000).toFixed(1)} kB`;
  const time = `${((performance.now() - start) / 1000).toFixed(1)} s`;
  return `  ${name.padEnd(20)} ${size.padStart(10)} ${time.padStart(8)}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildWasm();
