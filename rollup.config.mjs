// src/ -> dist/. What entries share is in core, so that a program never holds two copies of a class: slim is its public part,
// index and the entries of other packs add their kernels. Those come embedded (embedded-<pack>), or, by the conditions `workerd`
// and `edge-light`, as modules imported from their files (imported-<pack>). worker-runtime and model-worker-runtime hold the
// scripts of their workers, in which all of it is once more.

import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, relative, resolve } from 'node:path';
import nodeResolve from '@rollup/plugin-node-resolve';
import terser from '@rollup/plugin-terser';
import typescript from '@rollup/plugin-typescript';
import { rollup } from 'rollup';
import dts from 'rollup-plugin-dts';
import { wasmName } from './scripts/build-wasm.mjs';

const { name, version, license } = JSON.parse(readFileSync('package.json', 'utf8'));
const { packs, targets } = JSON.parse(readFileSync('asconfig.json', 'utf8'));

const banner = `/*! ${name} ${version}, ${license}; contains @assemblyscript/loader, Apache-2.0 */`;

/** Entries by the names of their files, and the pack that each brings. */
const entryOf = (pack) => (pack === 'attention' ? 'index' : pack);
const entries = {
  slim: 'src/slim.ts',
  measures: 'src/measures/index.ts',
  ...Object.fromEntries(
    Object.keys(packs).map((pack) => [
      entryOf(pack),
      pack === 'attention' ? 'src/index.ts' : `src/${pack}/index.ts`,
    ]),
  ),
};

/**
 * Names of classes survive: error messages use them. Functions stay functions: put inside each other, they get more
 * different names from the bundlers that minify programs once more, and compress less.
 */
const minify = (lineLength) =>
  terser({
    ecma: 2020,
    keep_classnames: true,
    compress: { passes: 2, inline: false, reduce_funcs: false },
    format: { max_line_len: lineLength, preserve_annotations: true, comments: /^!/ },
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
      const left = [...imports, ...dynamicImports].filter((file) => !(file in files));
      if (left.length > 0) this.error(`${fileName} imports ${left.join(', ')}`);
      const found = format === 'es' && /\brequire\(|\b__(?:dir|file)name\b/.exec(code);
      if (found) this.error(`${fileName} contains ${found[0]}`);
    }
  },
});

/** The compiled kernels as files of their own, for those who do not want them embedded. */
const wasmFiles = () => ({
  name: 'wasm-files',
  generateBundle({ format }) {
    if (format !== 'es') return;
    for (const fileName of Object.keys(packs).flatMap((pack) =>
      Object.keys(targets).map((target) => wasmName(pack, target)),
    )) {
      this.emitFile({ type: 'asset', fileName, source: readFileSync(`build/${fileName}`) });
    }
  },
});

/**
 * The entries of packs once more for edge networks, which compile modules when a program is deployed and nothing while it runs:
 * the same text, but for the file that the kernels come from. It is the build that every engine runs.
 */
const edgeEntries = () => ({
  name: 'edge-entries',
  generateBundle({ format }, files) {
    if (format !== 'es') return;
    const names = Object.keys(entries).map((entry) => `${entry}.mjs`);
    for (const { fileName, isEntry, imports } of Object.values(files)) {
      const twice = isEntry ? undefined : imports?.find((file) => names.includes(file));
      if (twice) this.error(`${fileName} imports ${twice}, of which edge networks have another`);
    }
    // Vercel's bundler wants modules marked.
    for (const [condition, mark] of Object.entries({ workerd: '', 'edge-light': '?module' })) {
      for (const pack of Object.keys(packs)) {
        const { code } = files[`${entryOf(pack)}.mjs`];
        const imported = `imported-${pack}.${condition}.mjs`;
        const changed = code
          .replace(/\.\/embedded-(\w+)\.mjs/g, `./imported-$1.${condition}.mjs`)
          .replaceAll(`./index.mjs`, `./index.${condition}.mjs`);
        if (!changed.includes(imported))
          this.error(`${entryOf(pack)}.mjs does not import embedded-${pack}.mjs`);
        const module = `import simd from './${wasmName(pack, 'simd')}${mark}';\nexport const wasm = { simd };\n`;
        this.emitFile({ type: 'asset', fileName: `${entryOf(pack)}.${condition}.mjs`, source: changed });
        this.emitFile({ type: 'asset', fileName: imported, source: `${banner}\n${module}` });
      }
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
      const bundle = await rollup({ input: entry, onwarn, plugins: plugins(false) });
      const { output } = await bundle.generate({ format: 'iife', inlineDynamicImports: true });
      await bundle.close();
      sources.set(basename(entry, '.ts'), output[0].code);
      return `export default ${JSON.stringify(output[0].code)};`;
    },
    generateBundle({ format }) {
      if (format !== 'es') return;
      for (const [module, fileName] of Object.entries(files)) {
        this.emitFile({ type: 'asset', fileName, source: `${banner}\n${sources.get(module)}` });
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

/** Types name each other by the files they describe; and the same types for CommonJS. */
const typesOfBothKinds = () => ({
  name: 'types-of-both-kinds',
  generateBundle(_, files) {
    for (const file of Object.values(files)) {
      file.code = file.code.replace(/(from '\.\/[\w-]+)\.d\.mts'/g, "$1.mjs'");
      const source = file.code.replace(/(from '\.\/[\w-]+)\.mjs'/g, "$1.cjs'");
      this.emitFile({ type: 'asset', fileName: file.fileName.replace('.mts', '.cts'), source });
    }
  },
});

/** A warning here is a mistake in the package: an import that does not resolve, a type error, a cycle. */
const onwarn = (warning) => {
  throw new Error(warning.message);
};

/** Marks modules that a file has a copy of. */
const COPY = '?copy';

/**
 * Files that programs load when they need them, by the module that is asked for: `import()` in the sources. What only this module
 * imports is in its file, too. Programs that a bundler has not split have all of them.
 */
const onDemand = {
  address: 'src/checkpoints/address.ts',
  both: 'src/model/both.ts',
  decoding: 'src/model/decoding.ts',
  dual: 'src/model/dual.ts',
  folder: `src/checkpoints/folder.ts${COPY}`,
  generation: 'src/model/generation/generate.ts',
  'initial-weights': 'src/training/initial/weights.ts',
  rotary: 'src/ops/rotary/layer-rotary.ts',
  saving: 'src/model/save.ts',
  sentence: 'src/model/sentence.ts',
  shards: `src/checkpoints/shards.ts${COPY}`,
  signals: 'src/model/layers/signals.ts',
  threads: 'src/runtime/threads/threads.ts',
  'training-checkpoint': 'src/training/training-checkpoint.ts',
};

/** Modules of core and of the model entry that import some of those, and are apart so that others do not. */
const apart = {
  cache: 'src/cache/key-value-cache.ts',
  layer: 'src/layers/multi-head-attention.ts',
  'model-layers': 'src/model/layers/transformer-block.ts',
  runtime: 'src/runtime/create-runtime.ts',
};

/** Functions that programs can import by name and that are loaded on demand, too, and what they import. */
const alsoOnDemand = [
  'src/checkpoints/folder.ts',
  'src/checkpoints/shards.ts',
  'src/checkpoints/write-safetensors.ts',
  'src/math/exponential.ts',
  'src/math/philox.ts',
  'src/model/generation/sampling.ts',
  'src/ops/linear/convolution.ts',
];

/**
 * Files that are loaded on demand have copies of functions that programs can import by name, too, and families/all has every family
 * once more, and imports nothing. Were they the same, bundlers that split programs by files (esbuild) would put them into what
 * every program begins with, because it could have named them; and those that do not split put what a file on demand imports into
 * functions, which for families/all costs 1 kB. Classes are never copied: there would be two of a name.
 */
const copies = () => {
  const isCopied = (id) =>
    alsoOnDemand.includes(relative('.', id)) || relative('.', id).startsWith('src/model/families/');
  const copyOf = (id) => (isCopied(id) ? id + COPY : id);
  const copying = [onDemand.generation, onDemand.saving, onDemand.signals, 'src/model/families/all.ts'].map(
    (path) => resolve(path),
  );
  return {
    name: 'copies',
    async resolveId(source, importer) {
      if (!importer?.endsWith(COPY) && !copying.includes(importer)) return null;
      return copyOf((await this.resolve(source, importer.replace(COPY, ''))).id);
    },
    async resolveDynamicImport(source, importer) {
      const { id } = await this.resolve(source, importer);
      return id === resolve('src/model/families/all.ts') ? id : copyOf(id);
    },
    async load(id) {
      if (!id.endsWith(COPY)) return null;
      const { code } = await this.load({ id: id.slice(0, -COPY.length) });
      return { code, moduleSideEffects: false };
    },
  };
};

/**
 * Which file a module goes to: entries, the builds of each pack and what is on demand to one of their own, all else to core. The
 * kernels are files of their own so that bundlers put their text before all code: amid code it compresses worse. All of the model entry
 * but what loads the kernels is in model-core, where training and files on demand find it: two files of code compress worse than one.
 */
const fileOf = (id, { getModuleInfo }) => {
  const path = relative('.', id);
  if (Object.values(entries).includes(path)) return undefined;
  if (/^build\/(encoded|embedded)-/.test(path)) return basename(path, '.ts');
  if (path === 'src/embedded.ts' || path === 'build/range-decoder.ts') return 'embedded';
  // A file each, so that bundlers can leave those aside that a program does not name.
  if (path.startsWith('src/model/families/'))
    return path.endsWith(COPY) ? 'families/all' : path.slice('src/model/'.length, -'.ts'.length);
  if (/^src\/ops\/rotary\/(?!options)/.test(path)) return 'rotary';
  const roots = { ...entries, ...onDemand, ...apart };
  const importers = Object.keys(roots).filter((name) => importedBy(roots[name], getModuleInfo).has(id));
  if (!importers.some((name) => name in entries)) {
    const [first, second] = importers.filter((name) => name in onDemand);
    if (!second) return first ?? importers[0];
  }
  if (['slim', 'benchmark', 'cache', 'layer'].some((name) => importers.includes(name))) return 'core';
  // What loads the kernels stays with them.
  const loads = ['src/model/load.ts', 'src/model/pack.ts'].includes(path);
  return importers.length > 1 || (importers.includes('model') && !loads) ? 'model-core' : undefined;
};

/** Modules that a module imports, by whatever way but through those that are files of their own. */
const imported = new Map();
function importedBy(root, getModuleInfo) {
  const known = imported.get(root);
  if (known) return known;
  const others = Object.values({ ...onDemand, ...apart }).map((path) => resolve(path));
  const found = new Set([resolve(root)]);
  for (const id of found) {
    for (const next of getModuleInfo(id)?.importedIds ?? []) if (!others.includes(next)) found.add(next);
  }
  imported.set(root, found);
  return found;
}

/** Short lines: Node prints the line that threw what nobody caught. A script that is a text in a module is on one line anyway. */
const plugins = (lineLength = 200) => [
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
  minify(lineLength),
  selfContained(),
];

/** Sources as modules of both kinds; `workers` become files of their own besides. */
const modules = (input, workers, more = []) => ({
  input,
  onwarn,
  plugins: [...more, inlineWorker(workers), ...plugins()],
  output: ['mjs', 'cjs'].map((end) => ({
    banner,
    dir: 'dist',
    format: end === 'mjs' ? 'es' : 'cjs',
    entryFileNames: `[name].${end}`,
    chunkFileNames: `[name].${end}`,
    minifyInternalExports: false,
    ...(input === entries && { manualChunks: fileOf, hoistTransitiveImports: false }),
  })),
});

/** The types that worker runtimes have in common with a runtime are those of slim, and those of models are the model entry's. */
const typesOfEntries = () => ({
  name: 'types-of-entries',
  resolveId: (source) => {
    if (/^(\.\.\/)+index\.js$/.test(source)) return { id: './slim.mjs', external: true };
    return /^(\.\.\/)+model\//.test(source) ? { id: './model.mjs', external: true } : null;
  },
});

/** Types of entries that belong together are in one file: a program that uses one of them downloads none. */
const typesFileOf = (input, name) => (id) =>
  Object.values(input).includes(relative('.', id)) ? undefined : name;

const types = (input, shared, more = []) => ({
  input,
  onwarn,
  plugins: [...more, dts({ compilerOptions: { stripInternal: true } }), publicTypes(), typesOfBothKinds()],
  output: [
    {
      dir: 'dist',
      format: 'es',
      entryFileNames: '[name].d.mts',
      chunkFileNames: `${shared}.d.mts`,
      hoistTransitiveImports: false,
      minifyInternalExports: false,
      manualChunks: typesFileOf(input, shared),
    },
  ],
});

const workerRuntime = { 'worker-runtime': 'src/worker/index.ts' };
const modelWorkerRuntime = { 'model-worker-runtime': 'src/worker/model/index.ts' };

export default [
  modules(entries, { thread: 'thread.js' }, [copies(), wasmFiles(), edgeEntries()]),
  modules(workerRuntime, { worker: 'worker.mjs' }),
  modules(modelWorkerRuntime, { worker: 'model-worker.mjs' }),
  types(entries, 'core'),
  types({ ...workerRuntime, ...modelWorkerRuntime }, 'worker-core', [typesOfEntries()]),
];
