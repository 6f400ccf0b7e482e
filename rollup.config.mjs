// src/ -> dist/. Everything is in slim, which carries no kernels; index (kernels embedded), workerd and edge-light (kernels
// as modules imported from their files) are thin layers over it, so that a program never holds two copies of a class.

import { readFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import nodeResolve from '@rollup/plugin-node-resolve';
import terser from '@rollup/plugin-terser';
import typescript from '@rollup/plugin-typescript';
import dts from 'rollup-plugin-dts';

const { name, version, license } = JSON.parse(readFileSync('package.json', 'utf8'));
const { targets } = JSON.parse(readFileSync('asconfig.json', 'utf8'));

const banner = `/*! ${name} ${version}, ${license}; contains @assemblyscript/loader, Apache-2.0 */`;
const slim = resolve('src/slim.ts');

/** Names of classes survive: error messages use them. */
const minify = () =>
  terser({ keep_classnames: true, format: { preserve_annotations: true, comments: /^!/ } });

/**
 * The loader without what kernels have no use for: its views of managed objects, which need exports that a module built
 * without AssemblyScript's managed runtime does not have, and two statements that run on import, of which one throws in
 * engines with a small TextDecoder and the other changes a global.
 */
const slenderLoader = () => ({
  name: 'slender-loader',
  transform(code, id) {
    if (!id.includes('@assemblyscript/loader/')) return null;
    for (const [from, to] of [
      [
        /function postInstantiate\(extendedExports, instance\) \{[^]*?\n\}\n/,
        'function postInstantiate(extendedExports, { exports }) { return { ...extendedExports, ...exports }; }\n',
      ],
      ['const utf16 = new TextDecoder(', 'const utf16 = () => new TextDecoder('],
      ['utf16.decode(', 'utf16().decode('],
      [/Object\.hasOwn = Object\.hasOwn \|\|[^}]*\};/, ''],
    ]) {
      const changed = code.replace(from, to);
      if (changed === code) this.error(`the loader no longer contains ${from}`);
      code = changed;
    }
    return { code, map: null };
  },
});

/** What the package promises bundlers and browsers: nothing outside dist/ to resolve, no CommonJS in the ES modules. */
const selfContained = () => ({
  name: 'self-contained',
  generateBundle({ format }, files) {
    for (const { type, fileName, code, imports, dynamicImports } of Object.values(files)) {
      if (type !== 'chunk') continue;
      const left = [...imports, ...dynamicImports].filter((file) => !file.startsWith('./'));
      if (left.length > 0) this.error(`${fileName} imports ${left.join(', ')}`);
      const found = format === 'es' && /\brequire\(|\b__(?:dir|file)name\b/.exec(code);
      if (found) this.error(`${fileName} contains ${found[0]}`);
    }
  },
});

/** The compiled kernels as files of their own, for those who do not want them embedded. */
const wasmFiles = () => ({
  name: 'wasm-files',
  generateBundle() {
    for (const { outFile } of Object.values(targets)) {
      this.emitFile({ type: 'asset', fileName: basename(outFile), source: readFileSync(outFile) });
    }
  },
});

/** The same types for CommonJS. */
const commonJsTypes = () => ({
  name: 'commonjs-types',
  generateBundle(_, files) {
    for (const { fileName, code } of Object.values(files)) {
      const source = code.replaceAll("'./slim.mjs'", "'./slim.cjs'");
      this.emitFile({ type: 'asset', fileName: fileName.replace('.mts', '.cts'), source });
    }
  },
});

/** A warning here is a mistake in the package: an import that does not resolve, a type error, a cycle. */
const onwarn = (warning) => {
  throw new Error(warning.message);
};

/** Leaves imports of slim and of .wasm files as imports of the files beside, which `paths` names. */
const siblings = (input) => ({
  name: 'siblings',
  resolveId(source, importer) {
    const name = basename(source, '.js');
    if (importer && (source.endsWith('.wasm') || (name === 'slim' && resolve(input) !== slim))) {
      return { id: `./${name}`, external: true };
    }
    return null;
  },
});

const bundle = (input, output) => ({
  input,
  onwarn,
  plugins: [
    siblings(input),
    slenderLoader(),
    nodeResolve({ extensions: ['.ts', '.mjs', '.js'] }),
    typescript({
      allowJs: false,
      include: ['src/**', 'build/*.ts'],
      noEmit: false,
      noEmitOnError: true,
      noForceEmit: true,
    }),
    minify(),
    selfContained(),
  ],
  output: output.map((options) => ({ banner, ...options })),
});

const types = (input, file) => ({
  input,
  onwarn,
  plugins: [siblings(input), dts({ includeExternal: ['@assemblyscript/loader'] }), commonJsTypes()],
  output: [{ file, format: 'es', paths: { './slim': './slim.mjs' } }],
});

export default [
  bundle('src/slim.ts', [
    { file: 'dist/slim.mjs', format: 'es', plugins: [wasmFiles()] },
    { file: 'dist/slim.cjs', format: 'cjs' },
  ]),
  bundle('src/index.ts', [
    { file: 'dist/index.mjs', format: 'es', paths: { './slim': './slim.mjs' } },
    { file: 'dist/index.cjs', format: 'cjs', paths: { './slim': './slim.cjs' } },
  ]),
  bundle('src/workerd.ts', [
    { file: 'dist/workerd.mjs', format: 'es', paths: { './slim': './slim.mjs' } },
    {
      file: 'dist/edge-light.mjs',
      format: 'es',
      paths: (id) => (id === './slim' ? './slim.mjs' : `${id}?module`), // as Vercel's bundler wants it marked
    },
  ]),
  types('src/slim.ts', 'dist/slim.d.mts'),
  types('src/index.ts', 'dist/index.d.mts'),
];
