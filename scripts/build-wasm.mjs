// Compiles assembly/ into build/: a .wasm file for every pack and target of asconfig.json, and what TypeScript takes of them,
// build/kernels.ts, build/identity.ts and build/embedded.ts. Run from the repository root.

import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';
import { deriveInterface } from './interface.mjs';
import { pack } from './pack.mjs';

/** Builds every pack for every target and returns the paths it wrote. */
export async function buildWasm() {
  const { packs, targets } = JSON.parse(await readFile('asconfig.json', 'utf8'));
  const builds = [];
  for (const [pack, entry] of Object.entries(packs)) {
    for (const target of Object.keys(targets)) {
      const start = performance.now();
      const name = `build/${wasmName(pack, target)}`;
      const options = ['--config', 'asconfig.json', '--target', target];
      builds.push({ pack, target, name, start, contents: await compile(name, entry, options) });
    }
  }
  // The same for every build of the same kernels: by it the JavaScript knows its own.
  const hash = createHash('sha256');
  for (const { contents } of builds) hash.update(contents);
  const identity = hash.digest('hex').slice(0, 16);
  for (const build of builds) build.contents = signed(build.contents, `${build.target} ${identity}`);

  const files = [
    ...builds,
    { name: 'build/kernels.ts', contents: await deriveInterface(packs, compileApart) },
    { name: 'build/identity.ts', contents: identify(identity, builds) },
    { name: 'build/embedded.ts', contents: await embed(builds) },
  ];
  for (const { name, contents, start = performance.now() } of files) {
    await mkdir(dirname(name), { recursive: true });
    await rm(name, { force: true }); // a checkout made of hard links shares it with others
    await writeFile(name, contents);
    console.log(progressLine(name, contents.length, start));
  }
  return files.map(({ name }) => name);
}

/** What the file of a build is called. */
export function wasmName(pack, target) {
  return pack === 'attention' ? `${target}.wasm` : `${pack}-${target}.wasm`;
}

/** Runs the compiler on an entry and returns the module's bytes. Sources may be given that are no files. */
async function compile(what, entry, options, sources = {}) {
  /** @type {Uint8Array<ArrayBuffer>} */
  let module;
  const { error } = await asc.main([entry, ...options, '--outFile', 'module.wasm'], {
    stdout: process.stdout,
    stderr: { write: (text) => text.startsWith('Last converge') || process.stderr.write(text) }, // a remark, not a fault
    readFile: (name) => sources[name] ?? readFile(name, 'utf8').catch(() => null),
    writeFile: async (_, contents) => void (module = contents),
  });
  if (error) throw new Error(`${what} could not be built: ${error.message}`);
  return module;
}

/** A module that is no kernel, of a source that may be no file. */
export function compileApart(name, source, options = []) {
  const all = ['--config', 'none', '--noAssert', '--runtime', 'stub', '--use', 'abort=', ...options];
  return compile(name, name, all, source && { [name]: source });
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

function compileUnpacker() {
  return compileApart('assembly/unpack/index.ts', undefined, ['-Oz', '--initialMemory', '32']);
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
