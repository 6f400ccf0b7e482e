// What the built package weighs, and what it may weigh at most.
//
//   npm run sizes             measures, and writes it into the README: the table between <!-- sizes --> and <!-- /sizes -->, and
//                             the first of it in the line at the top
//   npm run sizes -- --check  measures, and fails where a ceiling is passed
//
// A test holds the README to it.

import { readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { format, resolveConfig } from 'prettier';

const dist = fileURLToPath(new URL('../dist/', import.meta.url));
const readme = fileURLToPath(new URL('../README.md', import.meta.url));
const LINE = /(<!-- size -->)[^]*?(<!-- \/size -->)/;
const BETWEEN = /(<!-- sizes -->)[^]*?(<!-- \/sizes -->)/;

const attention = (entry, options) => `
import { createRuntime, scaledDotProductAttention } from './${entry}.mjs';
const runtime = await createRuntime(${options});
const x = { data: new Float32Array(64), shape: [1, 1, 8, 8] };
console.log(scaledDotProductAttention(x, x, x, { runtime }).output.data);`;

const model = (imports, options) => `
import { loadModel${imports} } from './model.mjs';
const model = await loadModel({ config: {}, weights: 'model.safetensors'${options} });
console.log(model.forward({ inputIds: [1, 2, 3] }));`;

const WHOLE_MODEL = 'everything of `model`, kernels inside';
const PARTS_OF_MODEL = [
  ...['address', 'both', 'decoding', 'dual', 'generation', 'rotary', 'saving', 'sentence', 'signals'],
];

/**
 * What is measured, by what the README calls it: a program that is bundled, or a file; and its ceiling in kB. Of a program that is
 * split, what it begins with counts, and what it loads `later` of these files; or only that: `beside`. Of one `beyond` another what it has
 * that the other has not.
 */
const measured = {
  'one operation, kernels inside': { program: attention('index', ''), ceiling: 35.1 },
  'one operation of `slim`, kernels apart': {
    program: attention('slim', `{ wasm: { simd: '/simd.wasm' } }`),
    ceiling: 21.5,
  },
  'everything, kernels inside': { program: `export * from './index.mjs';`, ceiling: 57.6 },
  'everything in a worker (`worker-runtime`)': {
    program: `export * from './worker-runtime.mjs';`,
    ceiling: 68.5,
  },
  'everything and models in a worker (`model-worker-runtime`)': {
    program: `export * from './model-worker-runtime.mjs';`,
    ceiling: 125.0,
  },
  '`benchmark` beside one operation': {
    program: `${attention('index', '')}\nexport * from './benchmark.mjs';`,
    ceiling: 36.9,
  },
  'a model of one family, kernels inside': {
    program: model(', bert', ', families: [bert]'),
    later: [],
    ceiling: 60.0,
  },
  'a model of any family, kernels inside': {
    program: model('', ''),
    later: ['families/all'],
    ceiling: 69.3,
  },
  'beside it, what only some families need': {
    program: model('', ''),
    beside: ['both', 'decoding', 'dual', 'rotary', 'signals'],
    ceiling: 12.6,
  },
  'beside it, when it generates': { program: model('', ''), beside: ['generation'], ceiling: 4.8 },
  'beside it, when it is read from an address': {
    program: model('', ''),
    beside: ['address', 'folder', 'shards'],
    ceiling: 4.8,
  },
  [WHOLE_MODEL]: { program: `export * from './model.mjs';`, later: PARTS_OF_MODEL, ceiling: 104.5 },
  '`training` beside it, kernels inside': {
    program: `export * from './model.mjs';\nexport * from './training.mjs';`,
    later: PARTS_OF_MODEL,
    beyond: WHOLE_MODEL,
    ceiling: 44.6, // keeps it from growing: 20 is aimed at
  },
  '`measures` beside it': {
    program: `export * from './model.mjs';\nexport * from './measures.mjs';`,
    later: PARTS_OF_MODEL,
    beyond: WHOLE_MODEL,
    ceiling: 7.2,
  },
  '`simd.wasm`': { file: 'simd.wasm', ceiling: 14.0 },
  '`relaxed.wasm`': { file: 'relaxed.wasm', ceiling: 14.2 },
};

/** In kB of 1000 bytes, compressed as servers do. */
const compressed = (content) => gzipSync(content, { level: 9 }).length / 1000;

/** The files that a program begins with, and those that it loads later; or only those. */
async function bundled({ program, beside, later = beside }) {
  const { outputFiles, metafile } = await build({
    stdin: { contents: program, resolveDir: dist },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    legalComments: 'none',
    write: false,
    outdir: '.',
    metafile: true,
    splitting: later !== undefined,
    logLevel: 'error',
  });
  const loadedBy = (files) => {
    const loaded = new Set(files);
    for (const file of loaded) {
      const { imports } = metafile.outputs[file];
      for (const { path, kind } of imports) if (kind === 'import-statement') loaded.add(path);
    }
    return loaded;
  };
  const begun = loadedBy(['stdin.js']);
  const asked = Object.entries(metafile.outputs).filter(([, { entryPoint = '' }]) =>
    later?.some((name) => entryPoint.endsWith(`/${name}.mjs`)),
  );
  if (asked.length < (later?.length ?? 0)) throw new Error(`not all of ${later.join(', ')} are loaded later`);
  const counted = loadedBy([...begun, ...asked.map(([path]) => path)]);
  if (beside) for (const path of begun) counted.delete(path);
  return outputFiles.filter(({ path }) => counted.has(basename(path))).map(({ text }) => text);
}

/** Sizes in kB, by what the README calls them. */
export async function measureSizes() {
  const sizes = {};
  for (const [name, { file, beyond, ...bundle }] of Object.entries(measured)) {
    const files = file ? [readFileSync(dist + file)] : await bundled(bundle);
    sizes[name] = files.reduce((sum, content) => sum + compressed(content), 0) - (sizes[beyond] ?? 0);
  }
  return sizes;
}

/** What is above its ceiling, a line each. */
export function aboveCeiling(sizes) {
  return Object.entries(measured)
    .filter(([name, { ceiling }]) => sizes[name] > ceiling)
    .map(([name, { ceiling }]) => `${name}: ${sizes[name].toFixed(2)} kB, at most ${ceiling}`);
}

/** Size in kB that the line at the top of the README states. */
export const sizeAtTop = () =>
  Number.parseFloat(LINE.exec(readFileSync(readme, 'utf8'))?.[0].split('>')[1] ?? '');

/** Sizes in kB that the README states. */
export function statedSizes() {
  const [table] = BETWEEN.exec(readFileSync(readme, 'utf8')) ?? [''];
  return Object.fromEntries(
    [...table.matchAll(/^\| (.+?) +\| +([\d.]+) kB \|$/gm)].map(([, name, size]) => [name, Number(size)]),
  );
}

/** The README with a table of these sizes. */
async function readmeWith(sizes) {
  const rows = Object.entries(sizes).map(([name, size]) => `| ${name} | ${size.toFixed(1)} kB |`);
  const table = ['| what a program loads | gzip |', '| --- | ---: |', ...rows].join('\n');
  const text = readFileSync(readme, 'utf8')
    .replace(BETWEEN, (_, open, close) => `${open}\n\n${table}\n\n${close}`)
    .replace(LINE, (_, open, close) => `${open}${Object.values(sizes)[0].toFixed(1)} kB${close}`);
  return format(text, { ...(await resolveConfig(readme)), parser: 'markdown' });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const sizes = await measureSizes();
  for (const [name, { ceiling }] of Object.entries(measured)) {
    console.log(`${name.padEnd(58)} ${sizes[name].toFixed(2).padStart(6)} kB of ${ceiling}`);
  }
  if (process.argv.includes('--check')) {
    const above = aboveCeiling(sizes);
    if (above.length > 0) console.error(`Above the ceiling:\n${above.join('\n')}`);
    process.exitCode = above.length > 0 ? 1 : 0;
  } else {
    writeFileSync(readme, await readmeWith(sizes));
  }
}
