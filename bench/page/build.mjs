// Builds the benchmark page into static files that can be hosted anywhere: build/bench-page/. With results that are there
// (bench/results/*.json) as references.

import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { readResults } from '../report/results.mjs';

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));

/** @returns {Promise<string>} the folder */
export async function buildPage(folder = here('../../build/bench-page')) {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const { version } = JSON.parse(await readFile(here('../../package.json'), 'utf8'));
  await build({
    entryPoints: [here('main.mjs'), here('worker.mjs')],
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    outdir: folder,
    legalComments: 'none',
    define: { LIBRARY_VERSION: JSON.stringify(version) },
    logLevel: 'warning',
  });
  for (const file of ['index.html', 'style.css']) await copyFile(here(file), `${folder}/${file}`);
  await writeFile(`${folder}/references.json`, JSON.stringify(await references()));
  return folder;
}

/** Result files that came with the project, without their rounds, which are most of their bytes. */
async function references() {
  const folder = here('../results');
  const names = await readdir(folder).catch(() => []);
  return names
    .filter((name) => name.endsWith('.json'))
    .map((name) => ({ name: name.replace(/\.json$/, ''), file: readResults(`${folder}/${name}`) }));
}
