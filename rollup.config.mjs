// src/index.ts -> dist/: one self-contained module for each module system, its types, and the .wasm files beside them.

import { readFileSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import nodeResolve from '@rollup/plugin-node-resolve';
import terser from '@rollup/plugin-terser';
import typescript from '@rollup/plugin-typescript';
import { wasm } from '@rollup/plugin-wasm';
import dts from 'rollup-plugin-dts';
import { minify as minifyScript } from 'terser';

const { name, version, license } = JSON.parse(readFileSync('package.json', 'utf8'));
const { targets } = JSON.parse(readFileSync('asconfig.json', 'utf8'));

const input = 'src/index.ts';
const banner = `/*! ${name} ${version}, ${license}; contains @assemblyscript/loader, Apache-2.0 */`;

/** Names of functions and classes survive, so that stack traces of the shipped files can be read. */
const minify = () =>
  terser({
    keep_classnames: true,
    keep_fnames: true,
    format: { preserve_annotations: true, comments: /^!/ },
  });

/** What the package promises bundlers and browsers: nothing left to resolve, and no CommonJS in the ES module. */
const selfContained = () => ({
  name: 'self-contained',
  generateBundle({ format }, files) {
    for (const { type, fileName, code, imports, dynamicImports } of Object.values(files)) {
      if (type !== 'chunk') continue;
      const left = [...imports, ...dynamicImports];
      if (left.length > 0) this.error(`${fileName} imports ${left.join(', ')}`);
      const found = format === 'es' && /\brequire\(|\b__(?:dir|file)name\b/.exec(code);
      if (found) this.error(`${fileName} contains ${found[0]}`);
    }
  },
});

const threadFile = 'src/runtime/threads/thread.js';

/** `import text from './file.js?raw'`: a script as a string, minified. */
const raw = () => ({
  name: 'raw',
  resolveId: (id, importer) => (id.endsWith('?raw') ? resolve(dirname(importer), id) : null),
  async load(id) {
    if (!id.endsWith('?raw')) return null;
    return `export default ${JSON.stringify(await minifiedScript(id.slice(0, -'?raw'.length)))};`;
  },
});

const minifiedScript = async (file) =>
  (await minifyScript(readFileSync(file, 'utf8'), { toplevel: true })).code;

/** What is inlined as files of their own too, for those who do not want it so: compiled kernels, the worker's script. */
const files = () => ({
  name: 'files',
  async generateBundle() {
    const source = `${banner}\n${await minifiedScript(threadFile)}\n`;
    this.emitFile({ type: 'asset', fileName: 'thread.js', source });
    for (const { outFile } of Object.values(targets)) {
      this.emitFile({ type: 'asset', fileName: basename(outFile), source: readFileSync(outFile) });
    }
  },
});

const commonJsTypes = () => ({
  name: 'commonjs-types',
  generateBundle(_, files) {
    this.emitFile({ type: 'asset', fileName: 'index.d.cts', source: files['index.d.mts'].code });
  },
});

/** A warning here is a mistake in the package: an import that does not resolve, a type error, a cycle. */
const onwarn = (warning) => {
  throw new Error(warning.message);
};

export default [
  {
    input,
    onwarn,
    plugins: [
      nodeResolve({ extensions: ['.ts', '.mjs', '.js'] }),
      wasm({ targetEnv: 'auto-inline' }),
      raw(),
      typescript({
        allowJs: false,
        include: ['src/**'],
        noEmit: false,
        noEmitOnError: true,
        noForceEmit: true,
      }),
      minify(),
      selfContained(),
    ],
    output: [
      { file: 'dist/index.mjs', format: 'es', banner, plugins: [files()] },
      { file: 'dist/index.cjs', format: 'cjs', banner },
    ],
  },
  {
    input,
    onwarn,
    plugins: [dts({ includeExternal: ['@assemblyscript/loader'] }), commonJsTypes()],
    output: [{ file: 'dist/index.d.mts', format: 'es' }],
  },
];
