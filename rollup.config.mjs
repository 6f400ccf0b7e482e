// src/index.ts -> dist/: one self-contained module for each module system, its types, and the .wasm files beside them.

import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import nodeResolve from '@rollup/plugin-node-resolve';
import terser from '@rollup/plugin-terser';
import typescript from '@rollup/plugin-typescript';
import { wasm } from '@rollup/plugin-wasm';
import dts from 'rollup-plugin-dts';

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

/** The compiled kernels as files of their own, for those who do not want them inlined. */
const wasmFiles = () => ({
  name: 'wasm-files',
  generateBundle() {
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
      { file: 'dist/index.mjs', format: 'es', banner, plugins: [wasmFiles()] },
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
