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

const root = fileURLToPath(new URL('..', import.meta.url));
const { values: options } = parseArgs({
  options: { force: { type: 'boolean' }, 'if-possible': { type: 'boolean' } },
});

if (options['if-possible'] && !['assemblyscript', 'rollup', 'typescript'].every(isInstalled)) {
  console.log('Not built: the development dependencies are not installed.');
  process.exit(0);
}

const begin = performance.now();
let ran = 0;

try {
  await step({
    name: 'wasm',
    title: 'assembly/ -> build/*.wasm',
    inputs: ['assembly', 'asconfig.json', 'scripts/build-wasm.mjs', 'package-lock.json'],
    run: async () => (await import('./build-wasm.mjs')).buildWasm(),
  });
  await step({
    name: 'dist',
    title: 'src/ + build/*.wasm -> dist/',
    inputs: ['src', 'build', 'rollup.config.mjs', 'tsconfig.json', 'package.json', 'package-lock.json'],
    run: bundle,
  });
} catch (error) {
  console.error(`Build failed. ${error.stack ?? error}`);
  process.exit(1);
}
if (ran > 0) console.log(`Built in ${seconds(begin)}.`);

/** Runs one step, unless its inputs and the files it wrote are as it left them. */
async function step({ name, title, inputs, run }) {
  const record = join(root, 'build', `${name}.json`);
  const hash = await hashOf(inputs);
  if (!options.force && (await isFresh(record, hash))) return;
  ran++;
  console.log(`Building ${title}`);
  await rm(record, { force: true }); // an interrupted step is not taken for a finished one
  const outputs = await run();
  await mkdir(join(root, 'build'), { recursive: true });
  await writeFile(record, JSON.stringify({ hash, outputs }, null, 2));
}

async function isFresh(record, hash) {
  if (!existsSync(record)) return false;
  const last = JSON.parse(await readFile(record, 'utf8'));
  return last.hash === hash && last.outputs.every((file) => existsSync(join(root, file)));
}

async function hashOf(inputs) {
  const hash = createHash('sha256');
  for (const file of (await Promise.all(inputs.map(filesUnder))).flat()) {
    hash.update(`${file}\0`).update(await readFile(join(root, file)));
  }
  return hash.digest('hex');
}

/** The files a step reads under a path, in a fixed order. */
async function filesUnder(path) {
  if (!existsSync(join(root, path))) return [];
  if (!(await stat(join(root, path))).isDirectory()) return [path];
  const entries = await readdir(join(root, path), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && /\.(ts|wasm)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length))
    .sort();
}

/** Runs Rollup on rollup.config.mjs and returns the paths it wrote. */
async function bundle() {
  const [{ rollup }, { loadConfigFile }] = await Promise.all([import('rollup'), import('rollup/loadConfigFile')]);
  const { options: configs, warnings } = await loadConfigFile(join(root, 'rollup.config.mjs'));
  const { kilobytes } = await import('./build-wasm.mjs');
  await rm(join(root, 'dist'), { recursive: true, force: true });
  const written = [];
  for (const config of configs) {
    const start = performance.now();
    const build = await rollup(config);
    for (const output of config.output) {
      for (const file of (await build.write(output)).output) {
        const name = `dist/${file.fileName}`;
        const { size } = await stat(join(root, name));
        console.log(`  ${name.padEnd(28)} ${kilobytes(size)}  ${seconds(start)}`);
        written.push(name);
      }
    }
    await build.close();
  }
  warnings.flush();
  return written;
}

function isInstalled(name) {
  return existsSync(join(root, 'node_modules', name, 'package.json'));
}

function seconds(since) {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}
