// Builds the package in two steps: assembly/ -> build/*.wasm, then src/ and those files -> dist/.
//
//   node scripts/build.mjs                 a step runs only when something it reads has changed
//   node scripts/build.mjs --force         both steps run
//   node scripts/build.mjs --if-possible   does nothing where the development dependencies are not installed
//
// What a step has read is remembered as a hash in build/<step>.json, beside the list of the files it wrote.

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: { force: { type: 'boolean' }, 'if-possible': { type: 'boolean' } },
});

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

if (options['if-possible'] && !['assemblyscript', 'rollup', 'typescript'].every(isInstalled)) {
  console.log('Not built: the development dependencies are not installed.');
  process.exit(0);
}

const start = performance.now();
let ran = 0;

try {
  await step({
    name: 'wasm',
    title: 'assembly/ -> build/*.wasm',
    inputs: [
      'assembly',
      'asconfig.json',
      ...['build-wasm', 'embedded', 'interface', 'range-encoder', 'wasm-module'].map(
        (name) => `scripts/${name}.mjs`,
      ),
      'package-lock.json',
    ],
    run: async () => (await import('./build-wasm.mjs')).buildWasm(),
  });
  const { outputs: wasm } = JSON.parse(await readFile('build/wasm.json', 'utf8'));
  await step({
    name: 'dist',
    title: 'src/ + build/*.wasm -> dist/',
    inputs: ['src', ...wasm, 'rollup.config.mjs', 'tsconfig.json', 'package.json', 'package-lock.json'],
    run: bundle,
  });
} catch (error) {
  console.error(`Build failed: ${error.message}`);
  process.exit(1);
}
if (ran > 0) console.log(`Built in ${((performance.now() - start) / 1000).toFixed(1)} s`);

/** Runs one step, unless it has already run on these very inputs and the files it wrote are there. */
async function step({ name, title, inputs, run }) {
  const record = `build/${name}.json`;
  const hash = await hashOf(inputs);
  if (!options.force && (await isFresh(record, hash))) return;
  ran++;
  console.log(`Building ${title}`);
  await rm(record, { force: true }); // an interrupted step must not be taken for a finished one
  const outputs = await run();
  await mkdir('build', { recursive: true });
  await writeFile(record, JSON.stringify({ hash, outputs }, null, 2));
}

async function isFresh(record, hash) {
  if (!existsSync(record)) return false;
  const last = JSON.parse(await readFile(record, 'utf8'));
  return last.hash === hash && last.outputs.every((file) => existsSync(file));
}

async function hashOf(inputs) {
  const hash = createHash('sha256');
  for (const file of (await Promise.all(inputs.map(filesUnder))).flat()) {
    const contents = await readFile(file);
    hash.update(`${file}\0${contents.length}\0`).update(contents);
  }
  return hash.digest('hex');
}

/** The files a step reads under a path, in a fixed order. */
async function filesUnder(path) {
  if (!(await stat(path)).isDirectory()) return [path];
  const files = await readdir(path, { recursive: true });
  return files
    .filter((file) => file.endsWith('.ts'))
    .sort()
    .map((file) => join(path, file));
}

/** Runs Rollup on rollup.config.mjs and returns the paths it wrote. */
async function bundle() {
  const { rollup } = await import('rollup');
  const { loadConfigFile } = await import('rollup/loadConfigFile');
  const { progressLine } = await import('./build-wasm.mjs');
  const { options: bundles } = await loadConfigFile('rollup.config.mjs');
  const written = [];
  await rm('dist', { recursive: true, force: true });
  for (const { output: outputs, ...input } of bundles) {
    const begin = performance.now();
    const build = await rollup(input);
    for (const options of outputs) {
      const { output } = await build.write(options);
      for (const { fileName } of output) {
        const path = `dist/${fileName}`;
        console.log(progressLine(path, (await stat(path)).size, begin));
        written.push(path);
      }
    }
    await build.close();
  }
  return written;
}

function isInstalled(name) {
  return existsSync(join('node_modules', name, 'package.json'));
}
