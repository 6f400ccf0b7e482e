// src/ -> dist/. Everything is in slim, which carries no kernels; index (kernels embedded), workerd and edge-light (kernels
// as modules imported from their files) are thin layers over it, so that a program never holds two copies of a class.
// worker-runtime holds the script of its worker, in which all of it is once more.

import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import nodeResolve from '@rollup/plugin-node-resolve';
import terser from '@rollup/plugin-terser';
import typescript from '@rollup/plugin-typescript';
import { rollup } from 'rollup';
import dts from 'rollup-plugin-dts';

const { name, version, license } = JSON.parse(readFileSync('package.json', 'utf8'));
const { targets } = JSON.parse(readFileSync('asconfig.json', 'utf8'));

const banner = `/*! ${name} ${version}, ${license}; contains @assemblyscript/loader, Apache-2.0 */`;
const slim = resolve('src/slim.ts');

/**
 * Names of classes survive: error messages use them. Functions stay functions: put inside each other, they get more
 * different names from the bundlers that minify programs once more, and compress less.
 */
const minify = () =>
  terser({
    ecma: 2020,
    keep_classnames: true,
    compress: { passes: 2, inline: false, reduce_funcs: false },
    format: { preserve_annotations: true, comments: /^!/ },
  });

/**
 * The loader without what kernels have no use for: its views of managed objects, which need exports that a module built
 * without AssemblyScript's managed runtime does not have; the imports it offers, of which kernels take none; and two
 * statements that run on import, of which one throws in engines with a small TextDecoder and the other changes a global.
 * And modules of other realms are modules too: edge runtimes that are simulated in Node bring such.
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
      [/function preInstantiate\(imports\) \{[^]*?\n\}\n/, 'function preInstantiate() {}\n'],
      [/const utf16 = .*/, 'const utf16 = {};'],
      [
        'src instanceof WebAssembly.Module',
        "Object.prototype.toString.call(src) === '[object WebAssembly.Module]'",
      ],
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
    for (const target of Object.keys(targets)) {
      const fileName = `${target}.wasm`;
      this.emitFile({ type: 'asset', fileName, source: readFileSync(`build/${fileName}`) });
    }
  },
});

/**
 * `import source from './worker.js?inline'`: the module and all it imports, as the source of a classic script. Those named
 * in `files` become files too, for pages that load their workers by address.
 */
const inlineWorker = (files = {}) => {
  const marker = '?inline';
  const sources = new Map();
  return {
    name: 'inline-worker',
    resolveId(source, importer) {
      if (!source.endsWith(marker)) return null;
      return `\0${resolve(dirname(importer), source.slice(0, -marker.length)).replace(/\.js$/, '.ts')}${marker}`;
    },
    async load(id) {
      if (!id.endsWith(marker)) return null;
      const entry = id.slice(1, -marker.length);
      const bundle = await rollup({ input: entry, onwarn, plugins: plugins() });
      const { output } = await bundle.generate({ format: 'iife', banner });
      await bundle.close();
      sources.set(basename(entry, '.ts'), output[0].code);
      return `export default ${JSON.stringify(output[0].code)};`;
    },
    generateBundle({ format }) {
      if (format !== 'es') return;
      for (const [module, fileName] of Object.entries(files)) {
        this.emitFile({ type: 'asset', fileName, source: sources.get(module) });
      }
    },
  };
};

const DISPOSE = `
declare global {
  interface SymbolConstructor {
    /** As in the standard library of compilers that know \`using\`; the others have it from here. */
    readonly dispose: unique symbol;
  }
}
`;

/** Classes whose constructor is for this package alone. Without one in the types they could be made by anybody. */
const madeHere = readdirSync('src', { recursive: true }).flatMap((file) =>
  (file.endsWith('.ts') ? readFileSync(`src/${file}`, 'utf8') : '')
    .split(/^(?=export (?:abstract )?class )/m)
    .filter((text) => /\/\*\* @internal[^/]*\*\/\n {2}$/.test(text.split('constructor(', 2)[0]))
    .map((text) => /class (\w+)/.exec(text)[1]),
);

/**
 * Types as users' compilers read them: without what is internal (see also `stripInternal`), and with Symbol.dispose for
 * those whose library lacks it.
 */
const publicTypes = () => ({
  name: 'public-types',
  renderChunk(code) {
    let types = code
      .replaceAll('[disposeSymbol]', '[Symbol.dispose]')
      .replace(/\/\*\*[^/]*\*\/\ndeclare const disposeSymbol: .*\n/, '');
    if (types.includes('disposeSymbol')) this.error('the types still speak of disposeSymbol');
    for (const name of madeHere) {
      types = types.replace(
        new RegExp(`^declare (abstract )?class ${name}\\b.*\\{$`, 'm'),
        (line) => `${line}\n    protected constructor();`,
      );
    }
    return types.includes('[Symbol.dispose]') ? types + DISPOSE : types;
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

/**
 * Leaves imports of slim, of the embedded kernels and of .wasm files as imports of the files beside, which `paths` names.
 * The kernels are a file of their own so that bundlers put their text before all code: amid code it compresses worse.
 */
const siblings = (input) => ({
  name: 'siblings',
  resolveId(source, importer) {
    if (!importer) return null;
    if (source.endsWith('.wasm')) return { id: `./${basename(source)}`, external: true };
    if (source.endsWith('/build/embedded.js')) return { id: './embedded', external: true };
    const isSlim = source === '../index.js' || (source === './slim.js' && resolve(input) !== slim);
    return isSlim ? { id: './slim', external: true } : null;
  },
});

const plugins = () => [
  inlineWorker(),
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
];

/** A source as modules; `workers` become files of their own besides. */
const modules = (input, output, workers = {}) => ({
  input,
  onwarn,
  plugins: [inlineWorker(workers), siblings(input), ...plugins()],
  output: output.map((options) => ({ banner, ...options })),
});

/** Names of siblings as the file system has them. */
const endingIn = (end) => (id) => id + end;

const bothKinds = (name) => [
  { file: `dist/${name}.mjs`, format: 'es', paths: endingIn('.mjs') },
  { file: `dist/${name}.cjs`, format: 'cjs', paths: endingIn('.cjs') },
];

const types = (input, name) => ({
  input,
  onwarn,
  plugins: [
    siblings(input),
    dts({ compilerOptions: { stripInternal: true } }),
    publicTypes(),
    commonJsTypes(),
  ],
  output: [{ file: `dist/${name}.d.mts`, format: 'es', paths: { './slim': './slim.mjs' } }],
});

export default [
  modules('src/slim.ts', bothKinds('slim'), { thread: 'thread.js' }),
  modules('build/embedded.ts', bothKinds('embedded')),
  modules('src/index.ts', bothKinds('index')),
  modules('src/worker/index.ts', bothKinds('worker-runtime'), { worker: 'worker.mjs' }),
  modules('src/workerd.ts', [
    { file: 'dist/workerd.mjs', format: 'es', paths: { './slim': './slim.mjs' }, plugins: [wasmFiles()] },
    {
      file: 'dist/edge-light.mjs',
      format: 'es',
      paths: (id) => (id === './slim' ? './slim.mjs' : `${id}?module`), // as Vercel's bundler wants it marked
    },
  ]),
  types('src/slim.ts', 'slim'),
  types('src/index.ts', 'index'),
  types('src/worker/index.ts', 'worker-runtime'),
];
