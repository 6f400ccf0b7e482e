// Compiles assembly/ into build/: a .wasm file for every pack and target of asconfig.json, and what TypeScript takes of them.
// Run from the repository root.
//
//   kernels.ts            signatures, parameter blocks, constants (interface.mjs)
//   identity.ts           which kernels these are
//   embedded-<pack>.ts    the builds of a pack as text (embedded.mjs), which is encoded-<pack>.ts, and range-decoder.ts, which all of
//                         them need

import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';
import binaryen from 'assemblyscript/binaryen';
import { decoderText, embeddedTexts, encodedPack } from './embedded.mjs';
import { deriveInterface } from './interface.mjs';
import { checkModules, signed } from './wasm-module.mjs';

/** Builds every pack for every target and returns the paths it wrote. */
export async function buildWasm() {
  const { packs, targets, apart, continued } = JSON.parse(await readFile('asconfig.json', 'utf8'));
  const builds = [];
  for (const [pack, entry] of Object.entries(packs)) {
    for (const target of Object.keys(targets)) {
      const start = performance.now();
      const name = `build/${wasmName(pack, target)}`;
      const options = ['--config', 'asconfig.json', '--target', target, '--debug'];
      const compiled = await compile(name, entry, options);
      builds.push({ pack, target, name, start, contents: finished(compiled, apart[pack] ?? []) });
    }
  }
  // The same for every build of the same kernels: by it the JavaScript knows its own.
  const hash = createHash('sha256');
  for (const { contents } of builds) hash.update(contents);
  const identity = hash.digest('hex').slice(0, 16);
  for (const build of builds) {
    build.contents = signed(build.contents, `${build.pack} ${build.target} ${identity}`);
  }
  const heapBase = checkModules(builds);
  const decoder = await compileApart('assembly/range-decoder.ts', undefined, [
    '-Oz',
    '--initialMemory',
    '32',
  ]);

  const files = [
    ...builds,
    { name: 'build/kernels.ts', contents: await deriveInterface(packs, compileApart, apart) },
    { name: 'build/identity.ts', contents: identityText(identity, heapBase) },
    { name: 'build/range-decoder.ts', contents: decoderText(decoder) },
    ...embeddedFiles(Object.keys(packs), builds, decoder, continued),
  ];
  for (const { name, contents, start = performance.now() } of files) {
    await mkdir(dirname(name), { recursive: true });
    await rm(name, { force: true }); // a checkout made of hard links shares it with others
    await writeFile(name, contents);
    console.log(progressLine(name, contents.length, start));
  }
  return files.map(({ name }) => name);
}

/** The builds as text. A pack may continue one that stands before it in asconfig.json (`continued`). */
function embeddedFiles(packs, builds, decoder, continued) {
  const known = new Map();
  return packs.flatMap((pack) => {
    const earlier = known.get(continued[pack]);
    const ofPack = builds.filter((build) => build.pack === pack);
    const encoded = encodedPack(ofPack, decoder, earlier?.encoded);
    known.set(pack, { pack, encoded });
    return Object.entries(embeddedTexts(pack, ofPack, encoded, earlier)).map(([kind, contents]) => ({
      name: `build/${kind}-${pack}.ts`,
      contents,
    }));
  });
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

/** Size up to which a function with one caller becomes part of it. */
const ONE_CALLER = 200;

/**
 * A compiled module as it is shipped. `shrinkLevel` 1 leaves functions with one caller alone that are worth inlining: this is
 * made up for. Then exports go that were there for the optimiser alone (`apart` in asconfig.json: an export is another caller),
 * and what nothing uses. Functions stand in order of their names, which makes those neighbours that one source became and the
 * builds alike; locals in order of use.
 */
function finished(contents, apart) {
  const module = binaryen.readBinary(contents);
  const { SIMD128, RelaxedSIMD, MutableGlobals, SignExt, NontrappingFPToInt, BulkMemory, BulkMemoryOpt } =
    binaryen.Features;
  module.setFeatures(
    SIMD128 | RelaxedSIMD | MutableGlobals | SignExt | NontrappingFPToInt | BulkMemory | BulkMemoryOpt,
  );
  binaryen.setOptimizeLevel(3);
  binaryen.setShrinkLevel(1);
  binaryen.setOneCallerInlineMaxSize(ONE_CALLER);
  module.runPasses(['inlining-optimizing']);
  for (const name of apart) {
    if (!module.getExport(name))
      throw new Error(`asconfig.json: nothing exports ${name}, which should be kept apart`);
    module.removeExport(name);
  }
  module.runPasses(['remove-unused-module-elements', 'reorder-functions-by-name', 'reorder-locals']);
  binaryen.setDebugInfo(false); // names, which asc was told to keep
  const finished = module.emitBinary();
  module.dispose();
  return finished;
}

/** A module that is no kernel, of a source that may be no file. */
export function compileApart(name, source, options = []) {
  const all = ['--config', 'none', '--noAssert', '--runtime', 'stub', '--use', 'abort=', ...options];
  return compile(name, name, all, source && { [name]: source });
}

/** What the JavaScript has to know of all modules. */
function identityText(identity, heapBase) {
  return `export const identity = '${identity}';
/** The address from which on the memory is the caller's. */
export const HEAP_BASE = ${heapBase};\n`;
}

/** One line for one finished file. */
export function progressLine(name, bytes, start) {
  const size = `${(bytes / 1000).toFixed(1)} kB`;
  const time = `${((performance.now() - start) / 1000).toFixed(1)} s`;
  return `  ${name.padEnd(20)} ${size.padStart(10)} ${time.padStart(8)}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildWasm();
