// src/ -> dist/: for the package and for its worker runtime one self-contained module for each module system and their
// types; beside them what runs in a worker, and the .wasm files.

import { readFileSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import nodeResolve from '@rollup/plugin-node-resolve';
import terser from '@rollup/plugin-terser';
import typescript from '@rollup/plugin-typescript';
import { wasm } from '@rollup/plugin-wasm';
import { rollup } from 'rollup';
import dts from 'rollup-plugin-dts';

const { name, version, license } = JSON.parse(readFileSync('package.json', 'utf8'));
const { targets } = JSON.parse(readFileSync('asconfig.json', 'utf8'));

const input = 'src/index.ts';
const workerRuntime = 'src/worker/index.ts';
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

/**
 * `import source from './worker.js?inline'`: the module and all it imports, as the source of a classic script. The same
 * source becomes a file, for pages that load their workers by address.
 */
const inlineWorker = (fileName) => {
  const marker = '?inline';
  let code;
  return {
    name: 'inline-worker',
    resolveId(source, importer) {
      if (!source.endsWith(marker)) return null;
      return `\0${resolve(dirname(importer), source.slice(0, -marker.length)).replace(/\.js$/, '.ts')}${marker}`;
    },
    async load(id) {
      if (!id.endsWith(marker)) return null;
      const bundle = await rollup({ input: id.slice(1, -marker.length), onwarn, plugins: compile() });
      const { output } = await bundle.generate({ format: 'iife', banner });
      await bundle.close();
      code = output[0].code;
      return `export default ${JSON.stringify(code)};`;
    },
    generateBundle({ format }) {
      if (format === 'es') this.emitFile({ type: 'asset', fileName, source: code });
    },
  };
};

/** The same types under CommonJS's extension. */
const commonJsTypes = () => ({
  name: 'commonjs-types',
  generateBundle(_, files) {
    for (const { fileName, code } of Object.values(files)) {
      const source = code.replaceAll('./index.mjs', './index.cjs');
      this.emitFile({ type: 'asset', fileName: fileName.replace('.mts', '.cts'), source });
    }
  },
});

/** A warning here is a mistake in the package: an import that does not resolve, a type error, a cycle. */
const onwarn = (warning) => {
  throw new Error(warning.message);
};

const compile = () => [
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
];

export default [
  {
    input,
    onwarn,
    plugins: compile(),
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
  {
    input: workerRuntime,
    onwarn,
    plugins: [inlineWorker('worker.mjs'), ...compile()],
    output: [
      { file: 'dist/worker-runtime.mjs', format: 'es', banner },
      { file: 'dist/worker-runtime.cjs', format: 'cjs', banner },
    ],
  },
  {
    input: workerRuntime,
    onwarn,
    external: resolve('src/index.ts'),
    plugins: [dts(), commonJsTypes()],
    output: [
      {
        file: 'dist/worker-runtime.d.mts',
        format: 'es',
        paths: { [resolve('src/index.ts')]: './index.mjs' },
      },
    ],
  },
];
