// `npm run sizes`: measures what the built package weighs and writes it into the README: the table between
// <!-- sizes --> and <!-- /sizes -->, and the first of them in the line at its top. A test holds the README to it.

import { readFileSync, writeFileSync } from 'node:fs';
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

const programs = {
  'one operation, kernels inside': attention('index', ''),
  'one operation of `slim`, kernels apart': attention('slim', `{ wasm: { simd: '/simd.wasm' } }`),
  'everything, kernels inside': `export * from './index.mjs';`,
  'everything in a worker (`worker-runtime`)': `export * from './worker-runtime.mjs';`,
};

/** In kB of 1000 bytes, compressed as servers do. */
const compressed = (content) => gzipSync(content, { level: 9 }).length / 1000;

async function bundled(program) {
  const { outputFiles } = await build({
    stdin: { contents: program, resolveDir: dist },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    legalComments: 'none',
    write: false,
    logLevel: 'error',
  });
  return outputFiles[0].text;
}

/** Sizes in kB, by what the README calls them. */
export async function measureSizes() {
  const sizes = {};
  for (const [name, program] of Object.entries(programs)) sizes[name] = compressed(await bundled(program));
  for (const file of ['simd.wasm', 'relaxed.wasm'])
    sizes[`\`${file}\``] = compressed(readFileSync(dist + file));
  return sizes;
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

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const sizes = Object.entries(await measureSizes());
  const rows = sizes.map(([name, size]) => `| ${name} | ${size.toFixed(1)} kB |`);
  const table = ['| what a program loads | gzip |', '| --- | ---: |', ...rows].join('\n');
  const text = readFileSync(readme, 'utf8')
    .replace(BETWEEN, (_, open, close) => `${open}\n\n${table}\n\n${close}`)
    .replace(LINE, (_, open, close) => `${open}${sizes[0][1].toFixed(1)} kB${close}`);
  writeFileSync(readme, await format(text, { ...(await resolveConfig(readme)), parser: 'markdown' }));
  console.log(table);
}
